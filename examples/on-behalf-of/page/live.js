// Keeps the figures up to date, every two seconds while somebody can see them.
"use strict";

const state = document.getElementById("state");
const pause = document.getElementById("pause");
let paused = false;

async function update() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch("/figures", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    for (const [id, value] of Object.entries(await answer.json())) {
      document.getElementById(id).textContent = value;
    }
    state.textContent = "As of " + new Date().toLocaleTimeString() + ", live.";
  } catch {
    state.textContent = "The service does not answer. The figures are the last that came.";
  }
}

async function run() {
  await update();
  setTimeout(run, 2000);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Continue" : "Pause";
  if (paused) state.textContent = "Paused.";
  else update();
});
document.addEventListener("visibilitychange", update);
run();
