// The front end of tests/python/membership_app.py: one page, which names the organisation with each call, as pages of such
// apps do. `?api=` has it call another origin.
import { useCallback, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const api = new URLSearchParams(location.search).get("api") ?? "";

async function call(path, organisation, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (organisation) headers["X-Customer-ID"] = organisation;
  const answer = await fetch(api + path, { credentials: "include", headers, ...options });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.error_code ?? said.error ?? answer.status), { status: answer.status });
  return said;
}

function SignIn({ why, onIn }) {
  const [failed, setFailed] = useState(why);
  const submit = async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    try {
      await call("/api/login", "", { method: "POST", body: JSON.stringify(fields) });
      onIn();
    } catch (error) {
      setFailed(error.message);
    }
  };
  return (
    <form id="sign-in" onSubmit={submit}>
      <p id="why">{failed}</p>
      <input name="username" /> <input name="password" type="password" />
      <label><input name="remember" type="checkbox" value="yes" /> remember me</label>
      <button>Sign in</button>
    </form>
  );
}

function Projects({ session, onOut }) {
  const [organisation, choose] = useState(session.tenant);
  const [projects, setProjects] = useState(null);
  const [failed, setFailed] = useState("");
  const said = useCallback(
    (asked) =>
      asked.then(
        (answer) => (setProjects(answer.projects), setFailed("")),
        (error) => (error.status === 401 ? onOut(error.message) : (setProjects([]), setFailed(error.message))),
      ),
    [onOut],
  );
  useEffect(() => {
    said(call("/api/projects", organisation));
  }, [organisation, said]);
  const add = (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("name");
    setFailed("");
    said(call("/api/projects", organisation, { method: "POST", body: JSON.stringify({ name }) }));
  };
  const leave = () => call("/api/logout", "", { method: "POST" }).then(() => onOut(""));
  return (
    <main>
      <p id="who">{session.user}</p>
      <select id="organisation" value={organisation} onChange={(event) => choose(event.target.value)}>
        {session.tenants.map((key) => <option key={key}>{key}</option>)}
      </select>
      <ul id="projects">{projects?.map((name, at) => <li key={at}>{name}</li>)}</ul>
      <form id="add" onSubmit={add}><input name="name" /><button>Add</button></form>
      <p id="failed">{failed}</p>
      <button id="leave" onClick={leave}>Sign out</button>
    </main>
  );
}

function Page() {
  const [session, setSession] = useState(null);
  const [why, setWhy] = useState("");
  const look = useCallback(() => call("/api/session/status").then(setSession, () => setSession(false)), []);
  const out = useCallback((reason) => (setWhy(reason), setSession(false)), []);
  useEffect(() => void look(), [look]);
  if (session === null) return <p>…</p>;
  return session ? <Projects key={session.user} session={session} onOut={out} /> : <SignIn why={why} onIn={look} />;
}

createRoot(document.getElementById("root")).render(<Page />);
