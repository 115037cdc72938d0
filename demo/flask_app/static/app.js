"use strict";

// A legacy page: it remembers who signed in, and tells the server with each call which customer it is. Anybody can
// change that header in the browser's console, which is what the red button does.

// Where the suspicious ones say they are: addresses that nobody has.
const STRANGER = "192.0.2.66";
const BERLIN = "198.51.100.7";
const TOKYO = "203.0.113.7";
const NAMES = { 42: "Northwind", 77: "Fabrikam" };
const COLUMNS = ["number", "customer", "amount", "status"];
const $ = (selector) => document.querySelector(selector);
const user = () => JSON.parse(localStorage.getItem("user") || "null");
const other = () => (String(user()?.customer_id) === "77" ? "42" : "77");

async function call(method, path, claimed, body, from) {
  const headers = { Accept: "application/json" };
  if (claimed) headers["X-Customer-ID"] = String(claimed);
  if (user()) headers["X-User-ID"] = String(user().user_id);
  if (user()?.role) headers["X-User-Role"] = user().role;
  if (body) headers["Content-Type"] = "application/json";
  if (from) headers["X-Forwarded-For"] = from;
  // Somebody else has another browser: neither this one's cookies nor a place for new ones.
  const credentials = from ? "omit" : "same-origin";
  const response = await fetch(path, { method, headers, credentials, body: body && JSON.stringify(body) });
  const text = await response.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* an answer that is not JSON is shown as it is */ }
  $("#sent").textContent = claimed ? `X-Customer-ID: ${claimed}` : "no X-Customer-ID";
  $("#received").textContent = json?.believed
    ? `X-Customer-ID: ${json.believed.customer_id ?? "absent"}` : "was not asked, or did not say";
  const told = json?.believed?.customer_id;
  const spoofed = Boolean(claimed) && String(claimed) !== String(user()?.customer_id);
  $("#sent").className = spoofed ? "bad" : "";
  $("#received").className = !spoofed || told === undefined ? "" : told === String(claimed) ? "bad" : "good";
  $("#raw").textContent = `${method} ${path}\n`
    + Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`).join("")
    + `\n${response.status} ${response.statusText}\n\n${json ? JSON.stringify(json, null, 2) : text.slice(0, 2000)}`;
  return { status: response.status, json };
}

function say(kind, text) {
  $("#verdict").className = `verdict ${kind}`;
  $("#verdict").textContent = text;
}

function show({ status, json }) {
  for (const cell of document.querySelectorAll("#believed [data-id]")) {
    cell.textContent = json?.believed?.[cell.dataset.id] ?? "absent";
  }
  const rows = json?.invoices
    ?? json?.customers?.map((one) => ({ number: one.customer_id, customer: one.company }));
  $("#company").textContent = json?.company ? `Invoices of ${json.company}` : "Data";
  $("#invoices tbody").replaceChildren(...(rows ?? [{ number: `${status}: no data` }]).map((row) => {
    const line = document.createElement("tr");
    for (const name of COLUMNS.filter((column) => column in row)) {
      const cell = document.createElement("td");
      cell.textContent = row[name];
      if (name === "amount") cell.className = "amount";
      line.append(cell);
    }
    return line;
  }));
}

const time = (text) => (text ? new Date(text).toLocaleTimeString() : "–");

async function refreshStatus() {
  const response = await fetch("/api/session/status", { headers: { Accept: "application/json" } });
  const guarded = response.status !== 404;
  const state = guarded ? await response.json() : {};
  $("#guard").className = `pill ${guarded ? "good" : "bad"}`;
  $("#guard").textContent = guarded ? "protected by the gateway" : "naked: no gateway in front";
  $("#hop").classList.toggle("absent", !guarded);
  const field = (name, value) => { $(`#session [data-field=${name}]`).textContent = value; };
  field("state", !guarded ? "there is none" : state.authenticated ? "live" : "none");
  field("tenant", state.tenant ?? "–");
  field("idle", time(state.idle_expires_at));
  field("end", time(state.expires_at));
  return guarded;
}

function describeUser() {
  const who = user();
  $("#who").textContent = who
    ? `The page remembers ${who.email}, customer ${who.customer_id}.` : "Nobody is signed in.";
  $("#victim").textContent = NAMES[other()];
}

const attempt = (from, password) => call("POST", "/api/login", null, { username: "alice", password }, from);

const acts = {
  async mine() {
    const answer = await call("GET", "/api/invoices", user()?.customer_id);
    show(answer);
    say(answer.status === 200 ? "good" : "", answer.status === 200
      ? `Flask answered for customer ${answer.json.believed.customer_id}.` : answer.json?.message ?? answer.json?.error ?? `Answer ${answer.status}.`);
  },
  async spoof() {
    const claimed = other();
    const answer = await call("GET", "/api/invoices", claimed);
    show(answer);
    if (answer.status !== 200) {
      say("good", `Refused with ${answer.status}: ${answer.json?.error ?? "no session"}. Flask was never asked.`);
    } else if (answer.json.believed.customer_id === claimed) {
      say("bad", `The spoof worked: you are looking at ${answer.json.company}’s invoices. No gateway overwrote the header.`);
    } else {
      say("good", `The browser claimed customer ${claimed}; Flask was told ${answer.json.believed.customer_id}, `
        + "the tenant of the session. The spoof was overwritten.");
    }
  },
  async admin() {
    const answer = await call("GET", "/api/admin/customers", user()?.customer_id);
    show(answer);
    say(answer.status === 200 ? "" : "good", answer.status === 200
      ? "This route is for the role admin, and the answer came." : `Refused with ${answer.status}: ${answer.json?.error}.`);
  },
  async status() {
    const guarded = await refreshStatus();
    say("", guarded ? "Asked the gateway; asking does not extend the session." : "Only the gateway knows sessions.");
  },
  async guess() {
    let answer = null;
    for (let number = 1; number <= 6; number += 1) answer = await attempt(STRANGER, `guess ${number}`);
    show(answer);
    say(answer.status === 429 ? "good" : "bad", answer.status === 429
      ? "Five guesses came to nothing, and this one was not even passed on: the stranger is locked out of alice’s account, alice is not."
      : "All six reached the app, and nobody has noticed anything.");
  },
  async travel() {
    const [berlin, tokyo] = [await attempt(BERLIN, "demo"), await attempt(TOKYO, "demo")];
    show(tokyo);
    say("bad", berlin.status === 200 && tokyo.status === 200
      ? "Both are signed in as alice. Which of them is alice? The app has no idea; see what the console says."
      : tokyo.json?.message ?? tokyo.json?.error ?? `Answer ${tokyo.status}.`);
  },
  async logout() {
    const answer = await call("POST", "/api/logout", user()?.customer_id);
    localStorage.removeItem("user");
    show(answer);
    say("good", "Signed out. Behind the gateway the session is over at once, even for a copied cookie.");
  },
};

$("#login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  const answer = await call("POST", "/api/login", null, {
    username: fields.get("username"), password: fields.get("password"), remember: fields.get("remember") === "on",
  });
  if (answer.status === 200) localStorage.setItem("user", JSON.stringify(answer.json.user));
  say(answer.status === 200 ? "good" : "bad", answer.status === 200
    ? `Signed in at ${answer.json.user.company}.` : answer.json?.error ?? `Answer ${answer.status}.`);
  describeUser();
  await refreshStatus();
  const next = new URLSearchParams(location.search).get("next");
  if (answer.status === 200 && next && /^\/(?![\/\\])/.test(next)) location.assign(next);
});

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", async () => {
    await acts[button.dataset.act]();
    describeUser();
    if (button.dataset.act !== "status") await refreshStatus();
  });
}

describeUser();
refreshStatus();
