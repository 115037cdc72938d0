"""A FastAPI app with python-jose as FastAPI's documentation shows it: OAuth2's password form, answered with a bearer token.

`JWT_SECONDS` says how long an access token lives. There is a refresh token beside it, which the documentation leaves out
and apps add. Mobile clients have `/auth/…`. `/api/me` repeats the token that came, as some apps do.
"""

import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt

from tests.python.people import PEOPLE, known

SECRET_KEY = os.environ["JWT_SECRET"]
ALGORITHM = "HS256"
ACCESS = timedelta(seconds=int(os.environ["JWT_SECONDS"]))
REFRESH = timedelta(days=7)

app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


def create_token(key, organisation, kind, life):
    now = datetime.now(UTC)
    claims = {"sub": str(key), "org_id": organisation, "type": kind, "iat": now, "exp": now + life}
    return jwt.encode({**claims, "jti": secrets.token_hex(8)}, SECRET_KEY, algorithm=ALGORITHM)


def believed(token, kind):
    refused = HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])
    except JWTError:
        raise refused from None
    if claims.get("type") != kind or not any(str(key) == claims.get("sub") for key, _ in PEOPLE.values()):
        raise refused
    return claims


async def current_user(token: Annotated[str, Depends(oauth2_scheme)]):
    return believed(token, "access")


User = Annotated[dict, Depends(current_user)]


def pair(key, organisation):
    return {
        "access_token": create_token(key, organisation, "access", ACCESS),
        "refresh_token": create_token(key, organisation, "refresh", REFRESH),
        "token_type": "bearer",
    }


@app.post("/token")
@app.post("/auth/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]):
    who = known(form.username, form.password)
    if who is None:
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Bearer"})
    return pair(*who)


@app.post("/token/refresh")
@app.post("/auth/refresh")
async def refresh(refresh_token: Annotated[str, Body(embed=True)]):
    claims = believed(refresh_token, "refresh")
    return pair(claims["sub"], claims["org_id"])


@app.get("/api/orders")
async def orders(request: Request, user: User):
    """What the app was told, and whom it knows by the token that came."""
    told = {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}
    return {**told, "own": user["sub"], "own_tenant": str(user["org_id"])}


@app.get("/api/me")
async def me(response: Response, user: User, token: Annotated[str, Depends(oauth2_scheme)]):
    response.headers["X-Token"] = token
    return {"id": user["sub"], "org": {"id": user["org_id"]}, "token": token}


@app.post("/api/renew")
async def renew(user: User):
    """Another access token for the one that came, at a path that is no login and no refresh."""
    return {"access_token": create_token(user["sub"], user["org_id"], "access", ACCESS), "token_type": "bearer"}


@app.delete("/api/organisations/{organisation}")
async def delete(organisation: int, user: User):
    """Deletes an organisation; its tokens go on being believed until they are over."""
    return {"deleted": organisation}


@app.get("/api/health")
async def health():
    return {"status": "ok"}
