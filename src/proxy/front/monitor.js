// Reports what is done on a page to session-gateway, for operators to read: an ES module without dependencies.
//
//   <script type="module">
//     import { record } from "/api/sessions/monitor.js";
//     record("DATA_ACCESS", { what: "invoices" });
//   </script>
//
// An action is a word of capitals, digits and _; what else is said of it is JSON of at most 1 KiB. Nothing is sent of what the
// page shows, and nothing is kept in the browser. Address, program and time are the gateway's own.

const TARGET = new URL("activity/batch", import.meta.url);
const MOST_WAITING = 200;
const MOST_AT_ONCE = 100;
const LARGEST_BODY = 60_000;
const LONGEST_ACTION = 64;
const LARGEST_DETAILS = 1024;
const EVERY = 5_000;
const LONGEST_PAUSE = 300_000;

const encoder = new TextEncoder();
/** What waits, each as JSON. */
let waiting = [];
let timer;
let stopped = false;
let sending = false;
let quietUntil = 0;
let pause = EVERY;

const size = (text) => encoder.encode(text).length;

/** Notes that something happened. Never throws, never waits. */
export function record(action, details) {
  if (stopped) return;
  let text;
  try {
    const word = String(action);
    // It would not be kept, and one that fits into no request would hold up what comes after it.
    if (word.length > LONGEST_ACTION) return;
    const said = JSON.stringify(details);
    const fits = said !== undefined && size(said) <= LARGEST_DETAILS;
    text = fits ? `{"action":${JSON.stringify(word)},"details":${said}}` : `{"action":${JSON.stringify(word)}}`;
  } catch {
    return;
  }
  waiting.push(text);
  // Of more than there is room for the oldest go.
  waiting.splice(0, waiting.length - MOST_WAITING);
  timer ??= setInterval(flush, EVERY);
}

/** Reports nothing any more. */
export function stop() {
  stopped = true;
  waiting = [];
  clearInterval(timer);
  document.removeEventListener("visibilitychange", onVisibility);
}

/** As many of what waits as go into one request. */
function take() {
  let bytes = 20;
  let count = 0;
  while (count < Math.min(waiting.length, MOST_AT_ONCE)) {
    bytes += size(waiting[count]) + 1;
    if (bytes > LARGEST_BODY) break;
    count += 1;
  }
  return waiting.splice(0, count);
}

const body = (batch) => `{"activities":[${batch.join(",")}]}`;

/** Sends what waits, one request at a time. */
async function flush() {
  if (stopped || sending || waiting.length === 0 || Date.now() < quietUntil) return;
  sending = true;
  const batch = take();
  try {
    const answer = await fetch(TARGET, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: body(batch),
    });
    if (answer.status === 401) {
      stop();
    } else if (answer.status === 429 || answer.status >= 500) {
      backOff(batch, Number(answer.headers.get("Retry-After")) * 1000);
    } else {
      pause = EVERY;
    }
  } catch {
    backOff(batch, 0);
  } finally {
    sending = false;
  }
}

/** Keeps what was not taken, and is quiet for longer each time. */
function backOff(batch, atLeast) {
  if (stopped) return;
  waiting = [...batch, ...waiting].slice(-MOST_WAITING);
  quietUntil = Date.now() + Math.max(pause, atLeast || 0);
  pause = Math.min(pause * 2, LONGEST_PAUSE);
}

/** The page may be gone in a moment: what waits goes with it, and nobody hears what became of it. */
function onVisibility() {
  record("PAGE_VISIBILITY", { state: document.visibilityState });
  if (document.visibilityState !== "hidden" || stopped || Date.now() < quietUntil) return;
  while (waiting.length > 0) {
    const batch = take();
    if (batch.length === 0 || !navigator.sendBeacon(TARGET, new Blob([body(batch)], { type: "text/plain" }))) {
      waiting = [...batch, ...waiting];
      return;
    }
  }
}

document.addEventListener("visibilitychange", onVisibility);
