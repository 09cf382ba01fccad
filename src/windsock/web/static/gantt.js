// @ts-check
// The tasks of a run over time: one row for each, of which only those in sight are in the document. Uses windsock.js.
"use strict";

(() => {
  /**
   * @typedef {{id: string, external_id: string, map_index: number | null, rendered_map_index: string | null,
   *   loop: {id: string, iteration: number | null} | null, status: string, state_reason: string | null,
   *   try_number: number, queued_at: string | null, started_at: string | null, ended_at: string | null,
   *   duration_seconds: number | null, operator: string | null, provider_url: string, comment_count: number}} Task
   * @typedef {{try_number: number, status: string, queued_at: string | null, started_at: string | null, ended_at: string | null}} Try
   * @typedef {{key: string, name: string, depth: number, task: Task | null, folds: boolean, of: Task[]}} Line
   */
  const HEIGHT = 28;
  const SPARE = 8;
  const EVERY = 4000;
  const ORDER = ["failed", "upstream_failed", "running", "restarting", "up_for_retry", "queued", "scheduled", "deferred", "success", "skipped"];

  const found = document.getElementById("grid");
  if (!found) return;
  const grid = /** @type {HTMLElement} */ (found);

  /** @type {Task[]} */
  let tasks = [];
  /** @type {Line[]} */
  let lines = [];
  /** @type {Record<string, Try[]>} Those before the one that the task run is now. */
  let earlier = {};
  /** @type {Set<string>} */
  const open = new Set();
  /** @type {Set<string>} */
  const shut = new Set();
  let begin = 0;
  let end = 1;

  const head = part("line titles", "row");
  for (const [name, text] of [["what", "Task"], ["try", "Try"], ["took", "Duration"], ["bars", ""]]) {
    const cell = part(name, "columnheader");
    cell.textContent = text;
    head.append(cell);
  }
  const scale = /** @type {HTMLElement} */ (head.lastElementChild);
  const view = part("view", "rowgroup");
  const body = part("body", "presentation");
  view.tabIndex = 0;
  view.setAttribute("aria-label", "Tasks over time");
  view.append(body);
  const heads = part("heads", "rowgroup");
  heads.append(head);
  const note = part("quiet", undefined, "p");
  note.hidden = true;
  note.dir = "auto";
  grid.append(heads, view);
  grid.after(note);
  grid.setAttribute("role", "table");
  grid.setAttribute("aria-label", "Tasks");

  /** @param {string | null} text */
  const at = (text) => (text ? Date.parse(text) : NaN);
  /** @param {Task} task The iteration of a loop, the number of a mapped instance, and Airflow's name of it. */
  const instance = ({ loop, map_index: index, rendered_map_index: called }) =>
    [loop && `iteration ${loop.iteration}`, index !== null && `[${index}]`, called !== String(index) && called].filter(Boolean).join(" ");
  /** Groups as in the names (`group.task`), then tasks, then the iterations and instances of one. */
  function arrange() {
    lines = [];
    /** @type {Map<string, Task[]>} */
    const named = new Map();
    for (const task of tasks) {
      const same = named.get(task.external_id);
      if (same) same.push(task);
      else named.set(task.external_id, [task]);
    }
    /** @type {Map<string, Task[]>} */
    const groups = new Map();
    for (const [name, of] of named) {
      const parts = name.split(".");
      for (let depth = 1; depth < parts.length; depth += 1) {
        const group = parts.slice(0, depth).join(".");
        const inside = groups.get(group);
        if (inside) inside.push(...of);
        else groups.set(group, [...of]);
      }
    }
    const seen = new Set();
    for (const [name, of] of named) {
      const parts = name.split(".");
      let hidden = false;
      for (let depth = 1; depth < parts.length && !hidden; depth += 1) {
        const group = parts.slice(0, depth).join(".");
        const key = `group ${group}`;
        if (!seen.has(key)) {
          seen.add(key);
          lines.push({ key, name: parts[depth - 1], depth: depth - 1, task: null, folds: true, of: groups.get(group) || [] });
        }
        hidden = shut.has(key);
      }
      if (hidden) continue;
      const [depth, short] = [parts.length - 1, parts[parts.length - 1]];
      const isMapped = of.length > 1 || of[0].map_index !== null || of[0].loop !== null;
      const key = `task ${name}`;
      lines.push({ key, name: short, depth, task: isMapped ? null : of[0], folds: isMapped, of });
      for (const one of isMapped && open.has(key) ? of : []) {
        lines.push({ key: one.id, name: instance(one) || short, depth: depth + 1, task: one, folds: false, of: [one] });
      }
    }
    grid.setAttribute("aria-rowcount", String(lines.length + 1));
    body.style.height = `${lines.length * HEIGHT}px`;
    view.style.height = `${Math.min(lines.length, 20) * HEIGHT + 2}px`;
  }

  function measure() {
    begin = Infinity;
    end = -Infinity;
    const now = Date.now();
    for (const task of tasks) {
      for (const one of [...(earlier[task.id] || []), task]) {
        const from = at(one.queued_at) || at(one.started_at);
        if (!Number.isFinite(from)) continue;
        begin = Math.min(begin, from);
        end = Math.max(end, at(one.ended_at) || now);
      }
    }
    if (!(end > begin)) {
      begin = Number.isFinite(begin) ? begin : now;
      end = begin + 1000;
    }
    scale.textContent = `${new Date(begin).toLocaleTimeString([], clock())} → ${duration((end - begin) / 1000)}`;
  }

  /** @param {HTMLElement} bars @param {string} kind @param {number} from @param {number} to */
  function bar(bars, kind, from, to) {
    if (!Number.isFinite(from) || !Number.isFinite(to) || to < from) return;
    const made = part(`bar ${kind}`);
    made.style.left = `${((from - begin) / (end - begin)) * 100}%`;
    made.style.width = `max(2px, ${((to - from) / (end - begin)) * 100}%)`;
    bars.append(made);
  }

  /** @param {Task} task @param {HTMLElement} bars */
  function draw(task, bars) {
    for (const one of earlier[task.id] || []) {
      bar(bars, "waited", at(one.queued_at), at(one.started_at));
      bar(bars, `earlier ${one.status}`, at(one.started_at), at(one.ended_at));
    }
    const started = at(task.started_at);
    const ended = at(task.ended_at) || Date.now();
    bar(bars, "waited", at(task.queued_at), Number.isFinite(started) ? started : ended);
    if (Number.isFinite(started)) bar(bars, task.status, started, ended);
  }

  /** @param {Task[]} of */
  function histogram(of) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const task of of) counts.set(task.status, (counts.get(task.status) || 0) + 1);
    const rank = (/** @type {string} */ one) => (ORDER.includes(one) ? ORDER.indexOf(one) : ORDER.length);
    return [...counts].sort((one, two) => rank(one[0]) - rank(two[0]));
  }

  /** @param {Line} line @param {number} index */
  function row(line, index) {
    const made = part("line", "row");
    made.setAttribute("aria-rowindex", String(index + 2));
    made.style.transform = `translateY(${index * HEIGHT}px)`;
    const what = part("what", "cell");
    what.style.paddingLeft = `${8 + line.depth * 16}px`;
    const took = part("took", "cell");
    const tries = part("try", "cell");
    const bars = part("bars", "cell");
    if (line.folds) {
      const isOpen = line.key.startsWith("group") ? !shut.has(line.key) : open.has(line.key);
      const toggle = /** @type {HTMLButtonElement} */ (part("plain", undefined, "button"));
      toggle.type = "button";
      toggle.textContent = `${isOpen ? "▾" : "▸"} ${line.name}`;
      toggle.setAttribute("aria-expanded", String(isOpen));
      toggle.addEventListener("click", () => {
        const set = line.key.startsWith("group") ? shut : open;
        if (!set.delete(line.key)) set.add(line.key);
        arrange();
        show(true);
        /** @type {HTMLElement | undefined} */ ([...body.querySelectorAll("button")].find((one) => one.textContent?.slice(2) === line.name))?.focus();
      });
      what.append(toggle);
      for (const [status, count] of histogram(line.of)) {
        const chip = part(`state ${status}`, undefined, "span");
        chip.textContent = `${count}`;
        chip.title = `${count} ${status.replace("_", " ")}`;
        what.append(" ", chip);
      }
      const from = Math.min(...line.of.map((one) => at(one.started_at)).filter(Number.isFinite));
      const to = Math.max(...line.of.map((one) => at(one.ended_at) || (one.started_at ? Date.now() : NaN)).filter(Number.isFinite));
      if (Number.isFinite(from) && Number.isFinite(to)) {
        bar(bars, line.of.some((one) => one.status.endsWith("failed")) ? "failed whole" : "whole", from, to);
        took.textContent = to >= from ? duration((to - from) / 1000) : "–";
      }
    } else if (line.task) {
      const task = line.task;
      const chip = part(`state ${task.status} small`, undefined, "span");
      chip.title = task.status.replace("_", " ") + (task.state_reason ? `: ${task.state_reason}` : "");
      chip.setAttribute("aria-label", chip.title);
      chip.setAttribute("role", "img");
      const link = /** @type {HTMLAnchorElement} */ (part("open", undefined, "a"));
      link.href = task.provider_url;
      link.rel = "noreferrer";
      link.dir = "auto";
      link.textContent = line.name;
      link.title = `${task.external_id}${task.operator ? `, ${task.operator}` : ""}: ${chip.title}`;
      const say = /** @type {HTMLAnchorElement} */ (part("quiet say", undefined, "a"));
      say.href = `?about=${task.id}#comments`;
      say.textContent = task.comment_count ? `${task.comment_count} 💬` : "💬";
      say.setAttribute("aria-label", `Comment on ${task.external_id}`);
      what.append(chip, " ", link, " ", say);
      tries.textContent = String(task.try_number);
      took.textContent = task.duration_seconds === null ? "–" : duration(task.duration_seconds);
      draw(task, bars);
      bars.title = [...(earlier[task.id] || []), task]
        .map((one) => `${task.try_number > 1 ? `try ${one.try_number}: ` : ""}${one.status.replace("_", " ")}${one.started_at ? `, began ${new Date(one.started_at).toLocaleString([], clock())}` : ""}`)
        .join("\n");
    }
    made.append(what, tries, took, bars);
    return made;
  }

  let [first, last] = [-1, -1];
  /** @type {Map<number, HTMLElement>} */
  const shown = new Map();

  /** @param {boolean} [anew] Also those that are in sight already. */
  function show(anew = false) {
    const from = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
    const to = Math.min(lines.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
    if (!anew && from === first && to === last) return;
    for (const [index, made] of shown) {
      if (anew || index < from || index >= to) {
        made.remove();
        shown.delete(index);
      }
    }
    for (let index = from; index < to; index += 1) {
      if (shown.has(index)) continue;
      const made = row(lines[index], index);
      shown.set(index, made);
      body.append(made);
    }
    first = from;
    last = to;
  }

  let waits = false;
  view.addEventListener("scroll", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      show();
    });
  }, { passive: true });

  document.addEventListener("windsock:zone", () => {
    measure();
    show(true);
  });

  async function ask() {
    const answer = await fetch(/** @type {string} */ (grid.dataset.tasks));
    if (!answer.ok) return false;
    const told = await answer.json();
    const before = tasks.length;
    tasks = told.tasks.map((/** @type {unknown[]} */ values) =>
      Object.fromEntries(told.columns.map((/** @type {string} */ name, /** @type {number} */ place) => [name, values[place]])));
    if (!tasks.length && !told.goes_on) document.getElementById("none")?.replaceChildren("No tasks.");
    if (!tasks.length) return told.goes_on;
    if (!before) {
      grid.hidden = false;
      for (const name of ["tasks", "more", "none"]) document.getElementById(name)?.remove();
    }
    earlier = told.earlier.tries;
    const { missing, why } = told.earlier;
    note.hidden = !missing || told.earlier.goes_on;
    note.textContent = `The earlier tries of ${missing === 1 ? "one task" : `${missing} tasks`} are not known${why ? `: ${why}` : "."}`;
    measure();
    arrange();
    show(true);
    return told.goes_on || told.earlier.goes_on;
  }

  async function follow() {
    let goesOn = true;
    try {
      goesOn = document.hidden || await ask();
    } catch {
      // The server is away for a moment: what is shown stays, and is asked for again.
    }
    if (goesOn) setTimeout(follow, EVERY);
  }

  ask().then((goesOn) => {
    if (goesOn) setTimeout(follow, EVERY);
  }, () => {});
})();
