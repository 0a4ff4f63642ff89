"use strict";
// What the server writes is escaped there; this script moves, hides and fetches it, and makes no markup of its own.

const page = document.getElementById("main");
const parsed = async (address) => new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");

// A run that is being written: ask every second whether there is something new, and put it in its place.
async function follow() {
  try {
    const { stamp } = await (await fetch(page.dataset.follow)).json();
    if (stamp === page.dataset.stamp) return;
    const fresh = await parsed(location.href);
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (newer) replace(part, newer);
    }
    page.dataset.stamp = fresh.getElementById("main").dataset.stamp;
  } catch {
    // The server was stopped, or is away: the page stays as it is and asks again.
  }
}
// Who reads on is not disturbed: what is opened stays open, and what has the focus keeps it or is left alone.
function replace(part, newer) {
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  if (held && !held.matches("details[id] > summary")) return;
  for (const { id } of part.querySelectorAll("details[id][open]")) newer.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  part.replaceWith(newer);
  if (held) newer.querySelector(`#${CSS.escape(held.parentElement.id)} > summary`)?.focus();
}
if (page.dataset.follow) setInterval(() => document.hidden || follow(), 1000);

// What is one click away is fetched by that click.
for (const details of document.querySelectorAll("details[data-load]")) {
  details.addEventListener("toggle", async () => {
    const address = details.dataset.load;
    if (!details.open || !address) return;
    delete details.dataset.load;
    const place = details.querySelector("p");
    place.textContent = "Loading …";
    try {
      place.replaceWith((await parsed(address)).querySelector("[data-fragment]"));
    } catch {
      details.dataset.load = address;
      place.textContent = "The server did not answer: is profilegym view still running?";
    }
  });
}

// A long history is filtered while one types; what is left must hold all words.
document.addEventListener("input", (event) => {
  const box = event.target.closest("[data-filter]");
  if (!box) return;
  const part = box.closest("[data-fragment]");
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const session of part.querySelectorAll("[data-session]")) {
    const posts = [...session.querySelectorAll("li")];
    const heading = session.querySelector("h3")?.textContent ?? "";
    for (const post of posts) {
      const text = `${heading} ${post.textContent}`.toLowerCase();
      post.hidden = !words.every((word) => text.includes(word));
    }
    session.hidden = posts.every((post) => post.hidden);
  }
  const posts = [...part.querySelectorAll("[data-session] li")];
  const found = posts.filter((post) => !post.hidden).length;
  part.querySelector("[data-found]").textContent = `${found} of ${posts.length} posts`;
});

// Step by step: what comes later is hidden, as the policy did not know it.
const stepper = document.querySelector("[data-stepper]");
if (stepper) {
  const steps = [...document.querySelectorAll("[data-step]")];
  const last = Math.max(...steps.map((step) => Number(step.dataset.step)));
  let now = last;
  const show = (number, looking = true) => {
    now = Math.min(last, Math.max(1, number));
    for (const step of steps) {
      step.hidden = Number(step.dataset.step) > now;
      step.classList.toggle("now", Number(step.dataset.step) === now && looking);
    }
    stepper.querySelector("output").textContent = `step ${now} of ${last}`;
    if (looking) document.getElementById(`step-${now}`).scrollIntoView({ block: "nearest" });
  };
  const go = { first: () => show(1), back: () => show(now - 1), on: () => show(now + 1), last: () => show(last) };
  const keys = { ArrowLeft: "back", ArrowRight: "on", Home: "first", End: "last" };
  stepper.hidden = false;
  show(Number(location.hash.replace("#step-", "")) || last, location.hash.startsWith("#step-"));
  stepper.addEventListener("click", (event) => go[event.target.dataset.go]?.());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable], .scroll");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    go[keys[event.key]]();
  });
}

// A model may think for a while: nothing is sent twice.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    const pressed = event.submitter;
    setTimeout(() => {
      for (const button of form.querySelectorAll("button")) button.disabled = true;
      if (pressed) pressed.textContent += " …";
    });
  });
}
