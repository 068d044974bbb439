// "Your data": shows, downloads or deletes what the service stores about this browser's session.

const $ = (id) => document.getElementById(`mine${id}`);

async function call(method, path = "", body = undefined) {
  const response = await fetch(`web/me${path}`, {
    method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `The service answered with status ${response.status}.`);
  return answer;
}

// Shows errors in the dialog.
const trying = (work) => async (event) => {
  $("-said").textContent = "";
  try {
    await work(event);
  } catch (error) {
    $("-said").textContent = error instanceof TypeError ? "The service cannot be reached." : error.message;
  }
};

const many = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

async function refresh() {
  const seen = await call("GET");
  const given = seen.thumbs + seen.reasons + seen.corrections;
  const entries = given === 1 ? "feedback entry" : "feedback entries";
  $("-figures").textContent = `Stored: ${many(seen.questions, "question")} and the answers, ${given} ${entries}.`;
  $("-learning").checked = seen.learning;
}

function ask(sure) {
  $("-sure").hidden = !sure;
  $(sure ? "-no" : "-forget").focus();
}

$("").addEventListener("click", trying(async () => {
  $("-sure").hidden = true;
  $("-dialog").showModal();
  await refresh();
}));
$("-learning").addEventListener("change", trying(async () => {
  const { withdrawn } = await call("PUT", "/learning", { learning: $("-learning").checked });
  if (withdrawn) $("-said").textContent = `${many(withdrawn, "pending suggestion")} withdrawn.`;
}));
$("-forget").addEventListener("click", () => ask(true));
$("-no").addEventListener("click", () => ask(false));
$("-yes").addEventListener("click", trying(async () => {
  const done = await call("DELETE");
  ask(false);
  document.getElementById("new").click();
  await refresh();
  $("-said").textContent = `Deleted: ${many(done.messages, "message")}, ${many(done.judgements, "rating")}, `
    + `${many(done.pairs, "pair")}. ${done.note}`;
}));
