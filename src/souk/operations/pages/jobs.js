// Shows GET /jobs, asked for with the token that an admin has typed in; text only, so that nothing of it is read as HTML.
"use strict";

const COLUMNS = {
  failed: ["job", "tries", "reason", "created_at", "failed_at"],
  jobs: ["job", "waiting", "running", "failed", "next_at"],
  schedules: ["job", "expression", "timezone", "missed", "last_tick_at", "next_tick_at"],
  sweepers: ["sweeper", "every_s", "begun_at", "lasted_ms", "outcome", "count"],
};
const REFRESH_MS = 5000;
let token = "";
let timer = 0;

const find = (id) => document.getElementById(id);

async function ask(method, path) {
  const answer = await fetch(path, { method, headers: { Authorization: `Bearer ${token}` }, credentials: "omit" });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || problem.title || `The shop answered ${answer.status}`);
  }
  return answer.status === 204 ? null : answer.json();
}

function addCell(row, kind, value) {
  const cell = row.appendChild(document.createElement(kind));
  const isTime = typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value);
  cell.textContent = value === null ? "" : isTime ? new Date(value).toLocaleString() : String(value);
  if (typeof value === "number") cell.className = "number";
  return cell;
}

function addRetry(row, id) {
  const button = row.appendChild(document.createElement("td")).appendChild(document.createElement("button"));
  button.textContent = "Run again";
  button.addEventListener("click", () => attempt(async () => {
    await ask("POST", `/jobs/${encodeURIComponent(id)}/retry`);
    await show();
  }));
}

function fill(name, rows) {
  const table = find(name);
  table.replaceChildren();
  const head = table.appendChild(document.createElement("tr"));
  COLUMNS[name].forEach((column) => addCell(head, "th", column.replaceAll("_", " ")));
  for (const one of rows) {
    const row = table.appendChild(document.createElement("tr"));
    COLUMNS[name].forEach((column) => addCell(row, "td", one[column] ?? null));
    if (name === "failed") addRetry(row, one.id);
  }
}

async function show() {
  const workload = await ask("GET", "/jobs");
  Object.keys(COLUMNS).forEach((name) => fill(name, workload[name]));
  find("workload").hidden = false;
  find("message").textContent = `As of ${new Date().toLocaleTimeString()}`;
}

async function attempt(work) {
  try {
    await work();
  } catch (trouble) {
    find("message").textContent = trouble.message;
  }
}

find("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("token").value.trim();
  find("token").value = "";
  clearInterval(timer);
  timer = setInterval(() => attempt(show), REFRESH_MS);
  attempt(show);
});
