// The web chat: sends a question, shows the answer while it is written, collects feedback.
// Text from the model or from people only becomes text nodes; this file never uses innerHTML.

const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const composer = $("composer"), question = $("question"), send = $("send");
const state = { conversation: null, subjects: [], answering: null };

// ---------------------------------------------------------------- requests

async function call(path, options = {}) {
  const response = await fetch(path, { headers: { "Content-Type": "application/json" }, ...options });
  if (!response.ok) throw new Failure(await sentence(response), mayRetry(response.status));
  return response;
}

// An error with a sentence for the person. `retry`: whether the same question may work later.
class Failure extends Error {
  constructor(message, retry) {
    super(message);
    this.retry = retry;
  }
}

const mayRetry = (status) => status >= 500 || status === 429 || status === 408;

async function sentence(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The service answered with status ${response.status}.`;
  }
}

const post = (path, body, signal) => call(path, { method: "POST", body: JSON.stringify(body), signal });

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

// ---------------------------------------------------------------- rendering text

// Renders code blocks, inline code and bold; everything else stays plain text.
function show(element, text) {
  const pieces = [];
  text.split(/\n*```[\w+-]*\n?([\s\S]*?)(?:```\n*|$)/).forEach((part, i) => {
    if (i % 2) {
      const pre = document.createElement("pre");
      pre.tabIndex = 0; // so that it can be scrolled with the keyboard
      pre.append(node("code", part.replace(/\n$/, "")));
      pieces.push(pre);
    } else {
      pieces.push(...inline(part));
    }
  });
  element.replaceChildren(...pieces);
}

// Control and bidirectional characters as symbols, so that no text can pretend to be another one;
// as in data/visible_text.py.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2060-\u206f\u061c\u200b\u200e\u200f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, (found) => {
    const code = found.codePointAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).filter(Boolean).map((part) => {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) return node("code", part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**") && part.endsWith("**")) return node("strong", part.slice(2, -2));
    return document.createTextNode(visible(part));
  });
}

function node(tag, text) {
  const element = document.createElement(tag);
  element.textContent = visible(text);
  return element;
}

// ---------------------------------------------------------------- messages

function add(template) {
  const element = $(template).content.firstElementChild.cloneNode(true);
  $("log").append(element);
  $("welcome").hidden = true;
  return element;
}

function addQuestion(text) {
  const element = add("question-template");
  element.querySelector(".text").textContent = visible(text);
  element.querySelector(".edit").addEventListener("click", () => compose(text));
  return element;
}

function addAnswer() {
  const element = add("answer-template");
  const part = (selector) => element.querySelector(selector);
  const answer = { element, part, text: "", replyId: null, thumb: null };
  part(".regenerate").addEventListener("click", () => { if (!state.answering) ask("", answer.replyId); });
  part(".up").addEventListener("click", () => rate(answer, "up"));
  part(".down").addEventListener("click", () => rate(answer, "down"));
  part(".copy").addEventListener("click", () => copy(answer));
  part(".cancel").addEventListener("click", () => { part(".better").hidden = true; part(".down").focus(); });
  part(".better").addEventListener("submit", (event) => { event.preventDefault(); correct(answer); });
  part(".better textarea").addEventListener("input", grow);
  return answer;
}

function finish(answer, about) {
  answer.element.setAttribute("aria-busy", "false");
  if (!answer.text.trim()) return;
  answer.part(".note").textContent = visible(about.note ?? "");
  answer.part(".note").hidden = !about.note;
  answer.part(".adapter").textContent = visible(about.adapter ?? "");
  answer.part(".adapter").hidden = !about.adapter;
  answer.part("footer").hidden = false;
  answer.part(".regenerate").hidden = about.outcome === "declined" || about.outcome === "quoted" || about.outcome === "small_talk";
  showSources(answer, about);
  showSuggestions(answer, about);
}

// The approved answers that an answer rests on; a quoted one is shown at once.
function showSources(answer, { heading, sources, outcome }) {
  const box = answer.part(".sources");
  box.hidden = !sources?.length;
  if (box.hidden) return;
  const one = sources.length === 1 ? "1 approved answer" : `${sources.length} approved answers`;
  box.open = outcome === "quoted";
  box.querySelector("summary").textContent = outcome === "quoted" ? `${heading}:` : `${heading} (${one})`;
  box.querySelector("ul").replaceChildren(...sources.map((source) => {
    const item = node("li", `${source.prompt} `);
    item.append(node("small", source.approval));
    return item;
  }));
}

// Under a refusal: the nearest questions, and the wish for a person's answer.
function showSuggestions(answer, { suggestions, outcome }) {
  answer.part(".instead").hidden = !suggestions?.length;
  answer.part(".instead ul").replaceChildren(...(suggestions ?? []).map(suggestion));
  const person = answer.part(".person");
  person.hidden = outcome !== "declined";
  person.querySelector("button").addEventListener("click", async () => {
    try {
      await post("web/feedback", { reply_id: answer.replyId, want_person: true });
      person.hidden = true;
      answer.part(".said").textContent = "Your question was passed on to the people who review answers.";
    } catch (error) {
      answer.part(".said").textContent = visible(error.message);
    }
  });
}

// A question to ask with one click, as an item of a list.
function suggestion(text) {
  const item = document.createElement("li");
  const button = node("button", text);
  button.type = "button";
  button.addEventListener("click", () => { if (!state.answering) { ask(text); question.focus(); } });
  item.append(button);
  return item;
}

// `retry`: what to do on "Try again"; null if that can't help.
function fail(answer, message, retry) {
  answer.element.setAttribute("aria-busy", "false");
  answer.part(".problem span").textContent = visible(message);
  answer.part(".problem").hidden = false;
  answer.part(".again").hidden = !retry;
  if (retry) answer.part(".again").addEventListener("click", retry, { once: true });
}

// Puts a question into the box to be changed, with what is wrong with it.
function compose(text, problem = "") {
  question.value = text;
  $("refused").textContent = visible(problem);
  $("refused").hidden = !problem;
  grow();
  question.focus();
}

function showThumb(answer, thumb) {
  answer.thumb = thumb;
  for (const side of ["up", "down"]) answer.part(`.${side}`).setAttribute("aria-pressed", String(thumb === side));
}

const nearEnd = () => main.scrollHeight - main.scrollTop - main.clientHeight < 80;
const toEnd = () => { main.scrollTop = main.scrollHeight; };

// ---------------------------------------------------------------- questions

// Asks a question, or for another answer to the one that the answer `regenerates` belongs to.
async function ask(text, regenerates = null) {
  const asked = regenerates ? null : addQuestion(text);
  const answer = addAnswer();
  const abort = new AbortController();
  state.answering = abort;
  setBusy(true);
  toEnd();
  let about = { adapter: "", note: "" }, ended = false;
  try {
    const body = { conversation: state.conversation, text, domain: $("subject").value || null, regenerates };
    for await (const event of lines(await post("web/ask", body, abort.signal))) {
      const follow = nearEnd();
      if (event.type === "started") {
        answer.replyId = event.reply_id;
        about = event;
      } else if (event.type === "delta") {
        answer.text += event.text;
        show(answer.part(".text"), answer.text);
      } else if (event.type === "ended") {
        ended = true;
        if (event.finish_reason === "length") answer.part(".said").textContent = "The answer reached its length limit.";
      } else if (event.type === "error") {
        throw new Failure(event.message, event.retry);
      } else if (event.type === "two") {
        answer.element.remove();
        showTwo(event.answers);
        return;
      }
      if (follow) toEnd();
    }
    if (!ended) throw new Failure("The connection was lost before the answer was complete.", true);
    finish(answer, about);
  } catch (error) {
    if (abort.signal.aborted) {
      finish(answer, about);
      answer.part(".said").textContent = "Stopped.";
    } else {
      const message = error instanceof TypeError ? "The service cannot be reached." : error.message;
      const discard = () => { asked?.remove(); answer.element.remove(); };
      if (error.retry === false && asked && !answer.text) {
        discard(); // the question itself is refused: it goes back to be changed
        if (!$("log").children.length) welcome();
        compose(text, message);
        return;
      }
      fail(answer, message, error.retry === false ? null : () => { discard(); ask(text, regenerates); });
      if (answer.text) finish(answer, about);
    }
  } finally {
    state.answering = null;
    setBusy(false);
    remember();
    if (nearEnd()) toEnd();
  }
}

function setBusy(busy) {
  send.textContent = busy ? "Stop" : "Send";
  send.setAttribute("aria-label", busy ? "Stop the answer" : "Send the question");
  $("status").textContent = busy ? "The answer is being written." : "";
}

// ---------------------------------------------------------------- feedback

async function rate(answer, thumb) {
  const wanted = answer.thumb === thumb ? "none" : thumb;
  const before = answer.thumb;
  showThumb(answer, wanted === "none" ? null : wanted);
  try {
    await post("web/feedback", { reply_id: answer.replyId, thumb: wanted });
    const notices = { up: "Thank you.", down: "Thank you for your feedback.", none: "Rating withdrawn." };
    answer.part(".said").textContent = notices[wanted];
    answer.part(".better").hidden = wanted !== "down";
    if (wanted === "down") {
      answer.part(".better textarea").focus();
      answer.part(".better").scrollIntoView({ block: "nearest" });
    }
  } catch (error) {
    showThumb(answer, before);
    answer.part(".said").textContent = visible(error.message);
  }
}

async function correct(answer) {
  const box = answer.part(".better textarea");
  if (!box.value.trim()) return box.focus();
  try {
    await post("web/feedback", { reply_id: answer.replyId, correction: box.value });
    answer.part(".better").hidden = true;
    answer.part(".said").textContent = "Thank you. A reviewer will check your answer.";
    question.focus();
  } catch (error) {
    answer.part(".said").textContent = visible(error.message);
  }
}

// Shows two blinded answers in the order that the service chose.
function showTwo(answers) {
  const element = add("two-template");
  element.querySelectorAll(".text").forEach((side, i) => show(side, answers[i].text));
  const buttons = element.querySelectorAll("[data-prefer]");
  const said = element.querySelector(".said");
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      try {
        await post("web/feedback", { reply_id: answers[0].reply_id, prefer: button.dataset.prefer });
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        said.textContent = "Thank you for your feedback.";
      } catch (error) {
        said.textContent = visible(error.message);
      }
    });
  }
}

// When a person returns to a conversation, asks whether the last answer helped.
function askWhetherItHelped(answer) {
  const row = answer.part(".helped");
  row.hidden = false;
  for (const button of row.querySelectorAll("[data-helped]")) {
    button.addEventListener("click", async () => {
      try {
        await post("web/feedback", { reply_id: answer.replyId, helped: button.dataset.helped });
        row.hidden = true;
        answer.part(".said").textContent = "Thank you.";
      } catch (error) {
        answer.part(".said").textContent = visible(error.message);
      }
    });
  }
}

async function copy(answer) {
  try {
    await navigator.clipboard.writeText(answer.text);
    answer.part(".said").textContent = "Copied.";
  } catch {
    answer.part(".said").textContent = "The browser did not allow copying.";
  }
}

// ---------------------------------------------------------------- the page

function begin() {
  state.conversation = crypto.getRandomValues(new Uint8Array(12)).reduce((s, b) => s + b.toString(16).padStart(2, "0"), "");
  $("log").replaceChildren();
  welcome();
  question.focus();
}

function welcome() {
  const subject = state.subjects.find((s) => s.name === $("subject").value);
  $("welcome").hidden = false;
  $("welcome-title").textContent = subject ? `What would you like to know about ${visible(subject.title)}?` : "There are no topics to ask about yet.";
  $("suggestions").replaceChildren(...(subject?.suggested_prompts ?? []).slice(0, 4).map(suggestion));
}

function remember() {
  try {
    sessionStorage.setItem("conversation", JSON.stringify([state.conversation, $("subject").value]));
  } catch { /* private windows may refuse storage; the chat works without it */ }
}

async function restore() {
  let saved = null;
  try { saved = JSON.parse(sessionStorage.getItem("conversation")); } catch { /* as above */ }
  if (!saved) return;
  if (state.subjects.some((s) => s.name === saved[1])) $("subject").value = saved[1];
  await showChat(saved[0]);
}

async function showChat(conversation) {
  const { messages } = await (await call(`web/conversations/${encodeURIComponent(conversation)}`)).json();
  if (!messages.length) return;
  state.conversation = conversation;
  $("log").replaceChildren();
  for (const message of messages) {
    if (message.role === "user") { addQuestion(message.text); continue; }
    const answer = addAnswer();
    Object.assign(answer, { text: message.text, replyId: message.reply_id });
    show(answer.part(".text"), message.text);
    finish(answer, message);
    if (message.thumb !== null) showThumb(answer, message.thumb === 1 ? "up" : "down");
    if (message.helped === null && message.status === "done") askWhetherItHelped(answer);
  }
  toEnd();
}

// The chats of this browser, to go on with one.
async function listChats() {
  $("chats-said").textContent = "";
  $("chats-dialog").showModal();
  try {
    const { conversations } = await (await call("web/conversations")).json();
    $("chats-list").replaceChildren(...conversations.map((chat) => {
      const item = document.createElement("li");
      const button = node("button", chat.question.length > 120 ? `${chat.question.slice(0, 119)}…` : chat.question);
      button.type = "button";
      button.title = new Date(chat.at / 1000).toLocaleString();
      button.addEventListener("click", () => goOn(chat.conversation));
      item.append(button);
      return item;
    }));
    if (!conversations.length) $("chats-said").textContent = "You have no chats yet.";
  } catch (error) {
    $("chats-said").textContent = error instanceof TypeError ? "The service cannot be reached." : error.message;
  }
}

async function goOn(conversation) {
  state.answering?.abort();
  try {
    await showChat(conversation);
    $("chats-dialog").close();
    remember();
    question.focus();
  } catch (error) {
    $("chats-said").textContent = visible(error.message);
  }
}

async function open() {
  setBusy(false);
  try {
    state.subjects = await (await call("web/domains")).json();
    $("subject").replaceChildren(...state.subjects.map((s) => {
      const option = node("option", s.title);
      option.value = s.name;
      return option;
    }));
    $("subject-choice").hidden = state.subjects.length < 2;
    begin();
    await restore();
  } catch (error) {
    const notice = node("p", error instanceof TypeError ? "The service cannot be reached." : error.message);
    notice.className = "notice";
    main.prepend(notice);
  }
}

function grow(event) {
  const box = event?.target ?? question;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.answering) return state.answering.abort();
  const text = question.value.trim();
  if (!text || !state.conversation) return question.focus(); // empty, or the page is not there yet
  compose("");
  ask(text);
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !state.answering) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
question.addEventListener("input", grow);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) state.answering?.abort();
});
$("chats").addEventListener("click", listChats);
$("subject").addEventListener("change", begin);
$("new").addEventListener("click", () => { state.answering?.abort(); begin(); remember(); });
open();
