// What the console adds to its forms and links where scripts run. Nothing depends on it.

// After a page was replaced, the keyboard continues at its content, and screen readers say where.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "page") return;
  document.getElementById("main").focus({ preventScroll: true });
  const said = document.querySelector("#said .said, #said .problem");
  const title = document.querySelector("h1").textContent;
  document.getElementById("announcement").textContent = said ? `${title}. ${said.textContent}` : title;
});

// A link to copy is selected as soon as somebody goes to it.
document.addEventListener("focusin", (event) => {
  if (event.target.matches("input.copied")) event.target.select();
});

// No answer at all: say so, and leave the form as it is.
document.addEventListener("htmx:sendError", () => {
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  problem.textContent = "The service could not be reached. What you entered is still here; try again.";
  document.getElementById("said").replaceChildren(problem);
});
