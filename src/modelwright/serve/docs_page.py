"""`GET /docs`: a page that shows the OpenAPI document, with a form to try each model.

Everything comes from this server and nothing from a network; the policy in its header lets no
inline script run, and the script writes text nodes only, so no name in a schema can become code.
"""

from __future__ import annotations

from modelwright.serve.messages import Response

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs.css">
<script src="docs.js" defer></script>
</head>
<body>
<main id="page"><p>Reading openapi.json ...</p></main>
<noscript>This page needs JavaScript; the same is in openapi.json.</noscript>
</body>
</html>
"""
STYLE = """\
:root { --ink: #17212b; --soft: #5b6875; --line: #d9dfe5; --back: #ffffff; --card: #f5f7f9;
  --accent: #0b6e69; --on-accent: #ffffff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa7b4; --line: #313c47;
  --back: #11171d; --card: #1a222b; --accent: #4fc3b8; --on-accent: #08201e; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 12px; padding-top: 12px; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 20px 0 8px; }
p { margin: 6px 0; }
.soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 7px 12px 7px 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td:last-child { min-width: 180px; }
code, pre, textarea { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; }
summary code { overflow-wrap: anywhere; min-width: 0; }
td code { white-space: nowrap; }
.try { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
.row { display: flex; flex-wrap: wrap; gap: 10px; align-items: end; margin-top: 10px; }
label { display: flex; flex-direction: column; gap: 3px; font-size: 13px; color: var(--soft);
  min-width: 0; }
label.wide { flex: 1 1 220px; }
textarea, select, input { color: var(--ink); background: var(--back); width: 100%;
  border: 1px solid var(--line); border-radius: 6px; padding: 7px 9px; font-size: 13px; }
textarea { min-height: 180px; resize: vertical; tab-size: 2; }
button { background: var(--accent); color: var(--on-accent); border: 0; border-radius: 6px;
  padding: 9px 18px; font: inherit; font-weight: 600; cursor: pointer; }
button:disabled { opacity: .6; cursor: wait; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
pre { margin: 12px 0 0; padding: 12px; background: var(--back); border: 1px solid var(--line);
  border-radius: 6px; overflow: auto; max-height: 420px; }
.status { margin-top: 12px; font-weight: 600; }
.bad { color: var(--bad); }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: 9px 0; display: flex; flex-wrap: wrap; gap: 4px 12px;
  align-items: baseline; list-style: none; }
summary::-webkit-details-marker { display: none; }
.method { font: 700 12px/1 ui-monospace, monospace; color: var(--accent); min-width: 42px; }
summary .soft { flex-basis: 100%; padding-left: 54px; }
@media (min-width: 700px) { summary .soft { flex: 1; padding-left: 0; text-align: right; } }
details > div { padding: 0 0 14px; }
@media (min-width: 700px) { details > div { padding-left: 54px; } }
"""
SCRIPT = """\
'use strict';
let token = '';
const page = document.getElementById('page');

function make(tag, about = {}, ...inside) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === 'class') found.className = value;
    else if (name.startsWith('on')) found.addEventListener(name.slice(2), value);
    else found[name] = value;
  }
  found.append(...inside.filter((one) => one !== null));
  return found;
}
function headers(more = {}) {
  return token ? { ...more, authorization: 'Bearer ' + token } : more;
}
function table(names, lines) {
  const head = make('tr', {}, ...names.map((name) => make('th', { scope: 'col' }, name)));
  const rows = lines.map((line) => make('tr', {}, ...line.map((cell) => make('td', {}, cell))));
  return make('div', { class: 'scroll' },
    make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows)));
}
function short(value) {
  return typeof value === 'number' ? String(Number(value.toPrecision(8))) : String(value);
}
function seenIn(about) {
  const seen = about['x-training'] || {};
  if (seen.levels && seen.levels.length) {
    const more = seen.levels.length > 12 ? ', and ' + (seen.levels.length - 12) + ' more' : '';
    return seen.levels.slice(0, 12).join(', ') + more;
  }
  if (seen.minimum !== undefined) return short(seen.minimum) + ' to ' + short(seen.maximum);
  return '';
}
function columns(row) {
  const wanted = new Set(row.required || []);
  const lines = Object.entries(row.properties).filter(([, about]) => about['x-training'])
    .map(([name, about]) => [make('code', {}, name), about['x-training'].kind,
      wanted.has(name) ? 'required' : 'may be left out',
      seenIn(about)]);
  return table(['column', 'kind', '', 'in training'], lines);
}
function pretty(example) {
  return typeof example === 'string' ? example : JSON.stringify(example, null, 2);
}
function tryOut(path, route) {
  const content = Object.entries(route.requestBody.content).filter(([, one]) => one.example);
  const kinds = Object.fromEntries(content);
  const body = make('textarea', { spellcheck: false, value: pretty(content[0][1].example) });
  const kind = make('select', {}, ...content.map(([name]) => make('option', {}, name)));
  kind.addEventListener('change', () => { body.value = pretty(kinds[kind.value].example); });
  const given = (route.parameters || []).filter((one) => one.in === 'query').map((one) => {
    const flag = one.schema.type === 'boolean';
    const field = flag ? make('select', {}, make('option', {}, 'false'), make('option', {}, 'true'))
      : make('input', { inputMode: 'numeric', placeholder: 'all', size: 6 });
    return [one.name, field];
  });
  const said = make('p', { class: 'status' });
  said.setAttribute('role', 'status');
  const shown = make('pre', { hidden: true, tabIndex: 0 });
  const send = make('button', { type: 'button' }, 'Send');
  send.addEventListener('click', async () => {
    send.disabled = true;
    const query = new URLSearchParams(given.map(([name, field]) => [name, field.value])
      .filter(([, value]) => value && value !== 'false')).toString();
    const started = performance.now();
    try {
      const reply = await fetch(path.slice(1) + (query ? '?' + query : ''),
        { method: 'POST', headers: headers({ 'content-type': kind.value }), body: body.value });
      let text = await reply.text();
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      said.textContent = reply.status + ' in ' + (performance.now() - started).toFixed(1) + ' ms';
      said.className = reply.ok ? 'status' : 'status bad';
      shown.textContent = text;
      shown.hidden = false;
    } catch (error) {
      said.textContent = 'No answer: ' + error.message;
      said.className = 'status bad';
    }
    send.disabled = false;
  });
  return make('div', { class: 'try' },
    make('label', {}, 'POST ' + path, body),
    make('div', { class: 'row' }, make('label', { class: 'wide' }, 'content type', kind),
      ...given.map(([name, field]) => make('label', {}, name, field)), send),
    said, shown);
}
function resolve(whole, about) {
  return about.$ref ? about.$ref.slice(2).split('/').reduce((at, key) => at[key], whole) : about;
}
function routeOf(whole, path, method, route) {
  const places = (route.parameters || []).map((one) => resolve(whole, one)).map((one) =>
    [make('code', {}, one.name), one.in, one.description || (one.schema.enum || []).join(', ')]);
  const codes = Object.entries(route.responses).map(([code, about]) =>
    [code, resolve(whole, about).description]);
  const kinds = Object.keys((route.requestBody || { content: {} }).content);
  return make('details', {},
    make('summary', {}, make('span', { class: 'method' }, method.toUpperCase()),
      make('code', {}, path), make('span', { class: 'soft' }, route.summary || '')),
    make('div', {}, places.length ? table(['parameter', 'in', ''], places) : null,
      kinds.length ? make('p', { class: 'soft' }, 'Bodies: ' + kinds.join(', ')) : null,
      make('p', { class: 'soft' },
        'Headers of the answer: ' + Object.keys(route.responses['200'].headers).join(', ')),
      table(['code', 'meaning'], codes)));
}
function render(whole) {
  document.title = whole.info.title + ' API';
  const parts = [make('h1', {}, whole.info.title, ' ',
    make('span', { class: 'soft' }, whole.info.version)),
    make('p', { class: 'soft' }, whole.info.description || '')];
  if (whole.security) parts.push(tokenField());
  const groups = new Map();
  for (const [path, methods] of Object.entries(whole.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = (route.tags || ['other'])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, route]);
    }
  }
  for (const [tag, routes] of groups) {
    parts.push(make('h2', {}, tag));
    const first = routes.find(([path, , route]) => path.endsWith('/predict') && route.requestBody);
    if (first) {
      const [path, , route] = first;
      const answer = route.requestBody.content['application/json'].schema.anyOf;
      parts.push(columns(resolve(whole, answer[answer.length - 1])));
      parts.push(make('h3', {}, 'Try it'), tryOut(path, route), make('h3', {}, 'Routes'));
    }
    parts.push(...routes.map(([path, method, route]) => routeOf(whole, path, method, route)));
  }
  parts.push(make('p', { class: 'soft' }, 'The document itself: ',
    make('a', { href: 'openapi.json' }, 'openapi.json')));
  page.replaceChildren(...parts);
}
function tokenField(asking = false) {
  const field = make('input', { type: 'password', autocomplete: 'off', value: token });
  field.addEventListener('change', () => { token = field.value.trim(); if (asking) read(); });
  return make('div', { class: 'row' }, make('label', { class: 'wide' }, 'token', field));
}
async function read() {
  try {
    const reply = await fetch('openapi.json', { headers: headers() });
    if (reply.ok) return render(await reply.json());
    const why = (await reply.json()).error;
    page.replaceChildren(make('h1', {}, 'API'), make('p', { class: 'bad' }, why));
    if (reply.status === 401) page.append(tokenField(true));
  } catch (error) {
    page.replaceChildren(make('p', { class: 'bad' }, 'No answer: ' + error.message));
  }
}
read();
"""
_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
PAGES = {
    "/docs": Response(200, HTML.encode(), b"text/html; charset=utf-8", _HEADERS),
    "/docs.js": Response(200, SCRIPT.encode(), b"text/javascript; charset=utf-8", _HEADERS),
    "/docs.css": Response(200, STYLE.encode(), b"text/css; charset=utf-8", _HEADERS),
}
"""Path -> what GET answers. They hold nothing of the model, so they may be open to everybody; the
page asks for a token itself."""
