// "Your data": what the service keeps of this browser's session, to see, download or have forgotten.

const $ = (id) => document.getElementById(`mine${id}`);

async function call(method, path = "", body = undefined) {
  const response = await fetch(`/web/me${path}`, {
    method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `The service answered with status ${response.status}.`);
  return answer;
}

// What goes wrong is said in the dialog, whatever was being done.
const trying = (work) => async (event) => {
  $("-said").textContent = "";
  try {
    await work(event);
  } catch (error) {
    $("-said").textContent = error instanceof TypeError ? "The service cannot be reached." : error.message;
  }
};

const many = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

async function look() {
  const seen = await call("GET");
  const judged = seen.thumbs + seen.reasons + seen.corrections;
  $("-figures").textContent = `${many(seen.questions, "question")} and what was answered, ${many(judged, "judgement")}.`;
  $("-learning").checked = seen.learning;
}

function ask(sure) {
  $("-sure").hidden = !sure;
  $(sure ? "-no" : "-forget").focus();
}

$("").addEventListener("click", trying(async () => {
  $("-sure").hidden = true;
  $("-dialog").showModal();
  await look();
}));
$("-learning").addEventListener("change", trying(async () => {
  const { withdrawn } = await call("PUT", "/learning", { learning: $("-learning").checked });
  if (withdrawn) $("-said").textContent = `${many(withdrawn, "waiting suggestion")} withdrawn.`;
}));
$("-forget").addEventListener("click", () => ask(true));
$("-no").addEventListener("click", () => ask(false));
$("-yes").addEventListener("click", trying(async () => {
  const done = await call("DELETE");
  ask(false);
  document.getElementById("new").click();
  await look();
  $("-said").textContent = `Forgotten: ${many(done.messages, "message")}, ${many(done.judgements, "judgement")}, `
    + `${many(done.pairs, "pair")}. ${done.note}`;
}));
