// Sends what will be refused, as Node does, and prints what came back.
//
// Lines in: NAME URL BYTES ORIGIN TIMES; a NAME that ends in /h2 is asked over HTTP/2. Lines out: NAME and a status, or 0
// where there was none. The certificate to accept is the first argument.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';

const ca = readFileSync(process.argv[2]);
const PATIENCE = 20_000;

function overHttp1(url, headers, body) {
  return new Promise((done) => {
    const send = url.startsWith('https:') ? https.request : http.request;
    const request = send(url, { method: 'POST', headers, ca, agent: false, timeout: PATIENCE });
    request.on('response', (response) => {
      response.resume();
      response.on('close', () => done(response.statusCode));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => done(0));
    request.end(body);
  });
}

function overHttp2(url, headers, body) {
  return new Promise((done) => {
    const { origin, pathname } = new URL(url);
    const session = http2.connect(origin, { ca });
    const end = (status) => {
      session.destroy();
      done(status);
    };
    session.on('error', () => end(0));
    const stream = session.request({ ':method': 'POST', ':path': pathname, ...headers });
    let status = 0;
    stream.on('response', (head) => {
      status = head[':status'];
      stream.resume();
    });
    stream.on('error', () => {});
    stream.on('close', () => end(status));
    stream.setTimeout(PATIENCE, () => end(0));
    stream.end(body);
  });
}

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const [name, url, size, origin, times] = line.split(' ');
  const body = Buffer.alloc(Number(size), 'x');
  const headers = { 'content-length': body.length, ...(origin === '-' ? {} : { origin }) };
  for (let time = 0; time < Number(times); time += 1) {
    const status = await (name.endsWith('/h2') ? overHttp2 : overHttp1)(url, headers, body);
    console.log(`${name} ${status}`);
  }
}
