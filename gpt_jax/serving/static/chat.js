// The chat page: talks to this server's /v1 routes, as any client would.
//
// All that comes from the server or the user is put into the page as text nodes, never
// as markup. The key and the conversation live in sessionStorage (this tab), settings
// and colours in localStorage.
'use strict';

const THEMES = ['system', 'light', 'dark'];
const THEME_WORDS = { system: 'as the system', light: 'light', dark: 'dark' };
const DEFAULTS = { system: '', temperature: 0.8, top_p: 1, max_tokens: '', seed: '' };
const RETRY_MS = 3000;
const LONG_TEXT = 256;  // tokens
const NUMBERS = ['temperature', 'top_p', 'max_tokens', 'seed'];
const ROLES = {
  chat: { user: 'You', assistant: 'Model' },
  completion: { user: 'Prompt', assistant: 'Continuation' },
};

let theme = 'system';
applyTheme(localStorage.getItem('theme'));  // before the first paint
document.addEventListener('DOMContentLoaded', start);

const state = {
  models: [],
  messages: [],  // {role, text, stats, problem, model}
  running: null,  // AbortController of the answer that is being written
  waitUntil: 0,  // milliseconds; the server said when to come back
};

function $(id) {
  return document.getElementById(id);
}

function start() {
  applyTheme(theme);
  const saved = parse(localStorage.getItem('settings'));
  for (const [name, value] of Object.entries({ ...DEFAULTS, ...saved })) {
    if (name in DEFAULTS) $(name).value = value;
  }
  $('key').value = sessionStorage.getItem('key') || '';
  const messages = parse(sessionStorage.getItem('messages'));
  state.messages = Array.isArray(messages) ? messages : [];
  listen();
  render();
  grow();
  loadModels();
}

function listen() {
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
  });
  $('prompt').addEventListener('keydown', (event) => {
    // While an input method is composing, Enter picks a character.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $('prompt').addEventListener('input', () => {
    grow();
    showControls();
  });
  $('stop').addEventListener('click', stop);
  $('new').addEventListener('click', startOver);
  $('theme').addEventListener('click', () => {
    applyTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    localStorage.setItem('theme', theme);
  });
  $('open-settings').addEventListener('click', () => showSettings($('settings').hidden));
  $('close-settings').addEventListener('click', () => showSettings(false));
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    if (state.running) stop();
    else if (!$('settings').hidden) showSettings(false);
  });
  for (const name of Object.keys(DEFAULTS)) {
    $(name).addEventListener('change', saveSettings);
  }
  $('reset').addEventListener('click', () => {
    for (const [name, value] of Object.entries(DEFAULTS)) $(name).value = value;
    saveSettings();
  });
  $('key').addEventListener('change', () => {
    sessionStorage.setItem('key', $('key').value.trim());
    loadModels();
  });
  $('model').addEventListener('change', () => {
    localStorage.setItem('model', $('model').value);
    render();
  });
}

// Settings and colours

function applyTheme(name) {
  theme = THEMES.includes(name) ? name : 'system';
  const root = document.documentElement;
  if (theme === 'system') delete root.dataset.theme;
  else root.dataset.theme = theme;
  const word = `Colours: ${THEME_WORDS[theme]}`;
  if (!document.body) return;
  $('theme-name').textContent = word;
  $('theme').title = word;
}

function showSettings(isOpen, focus = 'close-settings') {
  $('settings').hidden = !isOpen;
  $('open-settings').setAttribute('aria-expanded', String(isOpen));
  $(isOpen ? focus : 'open-settings').focus();
}

function saveSettings() {
  const values = {};
  for (const name of Object.keys(DEFAULTS)) values[name] = $(name).value;
  localStorage.setItem('settings', JSON.stringify(values));
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

// Models

async function loadModels() {
  try {
    const answer = await fetch('v1/models', { headers: headers() });
    if (!answer.ok) throw await problemOf(answer);
    state.models = (await answer.json()).data.filter(writes);
    showNotice('');
  } catch (error) {
    state.models = [];
    showNotice(inWords(error));
    if (error.status === 401) showSettings(true, 'key');
    else if (!error.status || error.status === 503) setTimeout(loadModels, RETRY_MS);
  }
  const names = state.models.map((model) => model.id);
  const options = names.map((name) => new Option(name, name));
  if (!options.length) options.push(new Option('no model yet', ''));
  $('model').replaceChildren(...options);
  $('model').disabled = !names.length;
  const wanted = localStorage.getItem('model');
  if (names.includes(wanted)) $('model').value = wanted;
  render();
}

function abilities(model) {
  return Array.isArray(model.abilities) ? model.abilities : ['chat'];
}

function writes(model) {
  return abilities(model).some((one) => one === 'chat' || one === 'completions');
}

function currentModel() {
  return state.models.find((model) => model.id === $('model').value) || null;
}

function describe({ id, step, context }) {
  const parts = [id];
  if (Number.isFinite(step)) parts.push(`step ${step.toLocaleString('en')}`);
  if (Number.isFinite(context)) {
    parts.push(`${context.toLocaleString('en')} tokens of context`);
  }
  return `${parts.join(', ')}.`;
}

function mode() {
  const model = currentModel();
  return !model || abilities(model).includes('chat') ? 'chat' : 'completion';
}

function headers() {
  const key = $('key').value.trim();
  const found = { 'Content-Type': 'application/json' };
  if (key) found.Authorization = `Bearer ${key}`;
  return found;
}

// Sending

function send() {
  const text = $('prompt').value;
  if (!canSend() || !text.trim()) return;
  $('prompt').value = '';
  grow();
  state.messages.push({ role: 'user', text });
  answer();
}

function tryAgain(message) {
  if (!canSend()) return;
  state.messages = state.messages.slice(0, state.messages.indexOf(message));
  answer();
}

function goOn(message) {
  if (!canSend()) return;
  const asked = state.messages[state.messages.indexOf(message) - 1];
  state.messages.push({ role: 'user', text: asked.text + message.text });
  answer();
}

function stop() {
  if (state.running) state.running.abort();
}

function startOver() {
  stop();
  state.messages = [];
  showNotice('');
  save();
  render();
  $('prompt').focus();
}

function canSend() {
  return !state.running && currentModel() && Date.now() >= state.waitUntil;
}

function request() {
  const body = {
    model: $('model').value,
    stream: true,
    stream_options: { include_usage: true },
  };
  for (const name of NUMBERS) {
    const value = $(name).value === '' ? NaN : Number($(name).value);
    if (Number.isFinite(value)) body[name] = value;
  }
  // Completions are short unless their length is said.
  const { context } = currentModel();
  if (mode() === 'completion' && !body.max_tokens && Number.isFinite(context)) {
    body.max_tokens = Math.min(LONG_TEXT, Math.floor(context / 2));
  }
  const said = state.messages.filter((message) => message.text && !message.isPartial);
  if (mode() === 'completion') {
    const asked = state.messages.filter((message) => message.role === 'user');
    return ['v1/completions', { ...body, prompt: asked[asked.length - 1].text }];
  }
  const messages = [];
  for (const { role, text } of said) {
    const last = messages[messages.length - 1];
    // Templates expect turns: a question without an answer joins the next one.
    if (last && last.role === role) last.content += `\n\n${text}`;
    else messages.push({ role, content: text });
  }
  const system = $('system').value.trim();
  if (system) messages.unshift({ role: 'system', content: system });
  return ['v1/chat/completions', { ...body, messages }];
}

async function answer() {
  const [path, body] = request();
  const message = { role: 'assistant', text: '', model: body.model, isPartial: true };
  const running = (state.running = new AbortController());
  state.messages.push(message);
  showNotice('');
  $('said').textContent = 'The model is writing.';
  render();
  toBottom();
  const times = { sent: performance.now(), first: null, last: null, pieces: 0 };
  try {
    const reply = await fetch(path, {
      method: 'POST',
      headers: headers(),
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!reply.ok) throw await problemOf(reply);
    await read(reply.body, message, times);
  } catch (error) {
    if (running.signal.aborted) message.finish = 'stopped';
    else fail(error, message);
  }
  message.isPartial = !message.text;
  state.running = null;
  message.stats = numbersOf(message, times);
  if (!state.messages.includes(message)) return;  // started over meanwhile
  const isAtEnd = atBottom();
  save();
  render();
  if (isAtEnd) toBottom();
  $('said').textContent = message.problem || `The model says: ${message.text}`;
  if ($('settings').hidden) $('prompt').focus();
}

async function read(stream, message, times) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let rest = '';
  let isOver = false;
  while (!isOver) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data:')) continue;
      const data = line.slice(5).trim();
      if (data === '[DONE]') isOver = true;
      else take(parse(data) || {}, message, times);
    }
    if (done && !isOver) throw { isBroken: true };
  }
}

function take(event, message, times) {
  if (event.error) throw { status: null, message: String(event.error.message || '') };
  if (event.usage) message.usage = event.usage;
  const choice = (event.choices || [])[0];
  if (!choice) return;
  const piece = choice.delta ? choice.delta.content || '' : choice.text || '';
  if (choice.finish_reason) message.finish = choice.finish_reason;
  if (!piece) return;
  times.last = performance.now();
  times.first = times.first === null ? times.last : times.first;
  times.pieces += 1;
  message.text += piece;
  showPiece(message, times);
}

// Numbers and errors, in words

function numbersOf(message, times) {
  const usage = message.usage;
  const parts = [];
  const count = usage ? usage.completion_tokens : null;
  if (count !== null) parts.push(`${count} ${count === 1 ? 'token' : 'tokens'}`);
  // From the question on: tokens come several at a time, the first of them too.
  const seconds = (times.last - times.sent) / 1000;
  if (count && times.last) parts.push(`${rate(count / seconds)} tokens/s`);
  if (times.first !== null) {
    parts.push(`first after ${((times.first - times.sent) / 1000).toFixed(2)} s`);
  }
  if (usage) parts.push(`prompt: ${usage.prompt_tokens}`);
  if (message.finish === 'length') parts.push('ended at max tokens');
  if (message.finish === 'stopped') parts.push('stopped');
  if (message.finish === 'content_filter') parts.push('ended by the policy');
  return parts.join(' · ');
}

function rate(value) {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

async function problemOf(answer) {
  const body = parse(await answer.text());
  const said = body && body.error && body.error.message;
  return {
    status: answer.status,
    message: said ? String(said) : '',
    wait: Number(answer.headers.get('Retry-After')) || 0,
  };
}

function inWords(error) {
  const said = error.message || '';
  const wait = error.wait ? ` Try again in ${seconds(error.wait)}.` : '';
  if (error.isBroken) return 'The connection broke off: this answer is not complete.';
  switch (error.status) {
    case 401:
      return `This server asks for a key: enter a valid one under Settings. ${said}`;
    case 403:
      return `Your key does not allow this. ${said}`;
    case 429:
      return `Too many requests for now.${wait} ${said}`;
    case 503:
      return `The server cannot take more at the moment.${wait} ${said}`;
    case undefined:
      return 'The server cannot be reached. Is it still running?';
    default:
      return said || `The server answered with the error ${error.status}.`;
  }
}

function seconds(count) {
  if (count < 90) return `${Math.ceil(count)} s`;
  const minutes = Math.ceil(count / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.ceil(count / 3600)} h`;
}

function fail(error, message) {
  message.problem = inWords(error);
  if (error.status === 401) showSettings(true, 'key');
  if (error.wait) waitFor(error.wait);
}

function waitFor(count) {
  state.waitUntil = Date.now() + 1000 * count;
  const tick = () => {
    const left = (state.waitUntil - Date.now()) / 1000;
    $('status').textContent = left > 0 ? `You can send again in ${seconds(left)}` : '';
    showControls();
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
}

function showNotice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

// The page

function save() {
  try {
    sessionStorage.setItem('messages', JSON.stringify(state.messages));
  } catch {
    showNotice('This conversation is too long to be kept when the page is loaded again.');
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function render() {
  document.body.classList.toggle('completion', mode() === 'completion');
  const isChat = mode() === 'chat';
  $('greeting').textContent = isChat ? 'Ask something' : 'Begin a text';
  const model = currentModel();
  const about = model ? [describe(model)] : [];
  if (model && !isChat) {
    about.push('It has no chat template: it goes on from what you write, and each');
    about.push('prompt stands alone.');
  }
  $('explanation').textContent = about.join(' ');
  const label = isChat ? 'Your message' : 'Text to go on from';
  $('prompt').placeholder = label;
  $('prompt-label').textContent = label;
  $('messages').replaceChildren(...state.messages.map(view));
  $('empty').hidden = state.messages.length > 0;
  showControls();
}

function showControls() {
  $('send').disabled = !canSend() || !$('prompt').value.trim();
  $('send').hidden = Boolean(state.running);
  $('stop').hidden = !state.running;
  $('messages').setAttribute('aria-busy', String(Boolean(state.running)));
  for (const button of document.querySelectorAll('.foot .again')) {
    button.disabled = !canSend();
  }
}

function view(message) {
  const isLast = message === state.messages[state.messages.length - 1];
  const isBusy = isLast && Boolean(state.running) && message.role === 'assistant';
  const role = message.role === 'user' ? 'user' : 'assistant';
  const made = element('article', `message ${role}${isBusy ? ' busy' : ''}`);
  const name = ROLES[mode()][role];
  const who = element('h2', 'who', (mode() === 'chat' && message.model) || name);
  const text = element('div', 'text');
  text.dir = 'auto';
  fill(text, message.text);
  const foot = element('div', 'foot');
  if (message.text && !isBusy) foot.append(copyButton(message));
  if (role === 'assistant' && isLast && !isBusy) {
    foot.append(quiet('Try again', 'again', () => tryAgain(message)));
    if (mode() === 'completion' && message.text) {
      foot.append(quiet('Go on', 'again', () => goOn(message)));
    }
  }
  foot.append(element('span', 'numbers', message.stats));
  made.append(who, text);
  if (message.problem) made.append(element('p', 'problem', message.problem));
  made.append(foot);
  return made;
}

// Text with code between lines of ``` in boxes of its own.
function fill(target, text) {
  const parts = mode() === 'chat' ? text.split(/^```[^\n`]*\n?/m) : [text];
  const nodes = parts.map((part, i) => {
    if (i % 2) return element('pre', '', part.replace(/\n$/, ''));
    // The boxes have margins of their own.
    const from = i > 0 ? part.replace(/^\n+/, '') : part;
    return document.createTextNode(i < parts.length - 1 ? from.trimEnd() : from);
  });
  target.replaceChildren(...nodes);
}

function quiet(word, className, onClick) {
  const button = element('button', `quiet ${className}`, word);
  button.type = 'button';
  button.addEventListener('click', onClick);
  return button;
}

function copyButton(message) {
  const button = quiet('Copy', 'copy', async () => {
    try {
      await navigator.clipboard.writeText(message.text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not allowed here';
    }
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  });
  return button;
}

function showPiece(message, times) {
  const last = $('messages').lastElementChild;
  if (!last || state.messages[state.messages.length - 1] !== message) return;
  const isAtEnd = atBottom();
  fill(last.querySelector('.text'), message.text);
  const spent = (performance.now() - times.sent) / 1000;
  last.querySelector('.numbers').textContent = `${spent.toFixed(1)} s`;
  if (isAtEnd) toBottom();
}

function atBottom() {
  const box = $('scroll');
  return box.scrollHeight - box.scrollTop - box.clientHeight < 40;
}

function toBottom() {
  $('scroll').scrollTop = $('scroll').scrollHeight;
}

function grow() {
  const box = $('prompt');
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight}px`;
}
