"""WSGI apps for servers that speak ASGI alone, made when a server asks for one by name."""


def __getattr__(name):
    if name == "flask_through_a2wsgi":
        from a2wsgi import WSGIMiddleware
        from flask_app import app
        return WSGIMiddleware(app)
    if name == "django_through_a2wsgi":
        from a2wsgi import WSGIMiddleware
        from django_app import wsgi
        return WSGIMiddleware(wsgi)
    if name == "flask_through_asgiref":
        from asgiref.wsgi import WsgiToAsgi
        from flask_app import app
        return WsgiToAsgi(app)
    raise AttributeError(name)
