# The demo's Flask app, as it is, under gunicorn.
FROM python:3.13-slim-bookworm
WORKDIR /srv
COPY demo/requirements.txt demo/requirements.txt
RUN pip install --no-cache-dir --require-hashes --requirement demo/requirements.txt
COPY demo demo
USER 10002:10002
EXPOSE 5059
CMD ["gunicorn", "--worker-class", "sync", "--workers", "2", "--no-control-socket", "--worker-tmp-dir", "/tmp", "--bind", "0.0.0.0:5059", "demo.flask_app:app"]
