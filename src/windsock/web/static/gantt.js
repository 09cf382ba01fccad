// @ts-check
// The tasks of a run over time: one row for each, of which only those in sight are in the document. The instances of a
// mapped task are read when it is opened. Uses windsock.js and gantt_rows.js.
"use strict";

(() => {
  const HEIGHT = 28;
  const SPARE = 8;
  const VISIBLE_LINES = 20;
  const INTERVAL_MILLISECONDS = 4000;

  const found = document.getElementById("grid");
  if (!found) return;
  const grid = /** @type {HTMLElement} */ (found);

  /** @type {Task[]} */
  let tasks = [];
  /** @type {Map<string, Task[]>} Of mapped tasks and loops, by task id. */
  const instances = new Map();
  /** @type {Line[]} */
  let lines = [];
  /** @type {Record<string, Try[]>} Tries before the current one, by task run. */
  let earlier = {};
  /** @type {Set<string>} Tasks that show their instances, and groups that hide their tasks. */
  const open = new Set();
  /** @type {Set<string>} */
  const shut = new Set();
  /** @type {Scale} */
  let scale = { begin: 0, end: 1 };

  const head = part("line titles", "row");
  for (const [name, text] of [["what", "Task"], ["try", "Try"], ["took", "Duration"], ["bars", ""]]) {
    const cell = part(name, "columnheader");
    cell.textContent = text;
    head.append(cell);
  }
  const axis = /** @type {HTMLElement} */ (head.lastElementChild);
  axis.setAttribute("aria-label", "Time");
  const view = part("view", "rowgroup");
  const body = part("body", "presentation");
  view.tabIndex = 0;
  view.setAttribute("aria-label", "Tasks over time");
  const heads = part("heads", "rowgroup");
  heads.append(head);
  const note = part("quiet", undefined, "p");
  note.hidden = true;
  note.dir = "auto";
  view.append(body);
  grid.after(note);

  /** Puts the table in the place of the empty lines that reserve its height. */
  function fill() {
    document.getElementById("none")?.remove();
    grid.replaceChildren(heads, view);
    grid.setAttribute("role", "table");
    grid.setAttribute("aria-label", "Tasks");
  }

  /** Groups as in the names (`group.task`), then tasks, then the iterations and instances of one. */
  function arrange() {
    lines = [];
    /** @type {Map<string, Task[]>} */
    const groups = new Map();
    for (const task of tasks) {
      const parts = task.external_id.split(".");
      for (let depth = 1; depth < parts.length; depth += 1) {
        const group = parts.slice(0, depth).join(".");
        const inside = groups.get(group);
        if (inside) inside.push(task);
        else groups.set(group, [task]);
      }
    }
    const seen = new Set();
    for (const task of tasks) {
      const parts = task.external_id.split(".");
      let isHidden = false;
      for (let depth = 1; depth < parts.length && !isHidden; depth += 1) {
        const group = parts.slice(0, depth).join(".");
        const key = `group ${group}`;
        if (!seen.has(key)) {
          seen.add(key);
          lines.push({ key, name: parts[depth - 1], depth: depth - 1, task: null, folds: true, isOpen: !shut.has(key), of: groups.get(group) || [] });
        }
        isHidden = shut.has(key);
      }
      if (isHidden) continue;
      const [depth, name] = [parts.length - 1, parts[parts.length - 1]];
      const key = `task ${task.external_id}`;
      const isOpen = open.has(key);
      lines.push({ key, name, depth, task: task.counts ? null : task, folds: task.counts !== null, isOpen, of: [task] });
      for (const each of isOpen ? instances.get(task.external_id) || [] : []) {
        lines.push({ key: String(each.id), name: instanceName(each) || name, depth: depth + 1, task: each, folds: false, isOpen: false, of: [each] });
      }
    }
    grid.setAttribute("aria-rowcount", String(lines.length + 1));
    body.style.height = `${lines.length * HEIGHT}px`;
    view.style.height = `${Math.min(lines.length, VISIBLE_LINES) * HEIGHT + 2}px`;
  }

  /** @param {Line} line */
  async function toggle(line) {
    const set = line.key.startsWith("group") ? shut : open;
    if (!set.delete(line.key)) set.add(line.key);
    const name = line.of[0].external_id;
    if (set === open && open.has(line.key) && !instances.has(name)) await readInstances(name);
    draw();
    /** @type {HTMLElement | undefined} */ ([...body.querySelectorAll("button")].find((each) => each.dataset.key === line.key))?.focus();
  }

  let [first, last] = [-1, -1];
  /** @type {Map<number, HTMLElement>} */
  const shown = new Map();

  /** @param {boolean} [anew] Also those that are in sight already. */
  function show(anew = false) {
    const from = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
    const to = Math.min(lines.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
    if (!anew && from === first && to === last) return;
    if (anew) body.replaceChildren();
    for (const [index, row] of shown) {
      if (anew || index < from || index >= to) {
        row.remove();
        shown.delete(index);
      }
    }
    for (let index = from; index < to; index += 1) {
      if (shown.has(index)) continue;
      const row = taskRow(lines[index], scale, earlier, toggle);
      row.setAttribute("aria-rowindex", String(index + 2));
      row.style.transform = `translateY(${index * HEIGHT}px)`;
      shown.set(index, row);
      body.append(row);
    }
    [first, last] = [from, to];
  }

  function draw() {
    scale = timeScale(tasks, earlier);
    drawAxis(axis, grid, scale);
    arrange();
    show(true);
  }

  let isWaiting = false;
  view.addEventListener("scroll", () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      show();
    });
  }, { passive: true });
  document.addEventListener("windsock:zone", draw);

  /** @param {string} [taskId] @returns {Promise<{rows: Task[], goes_on: boolean, earlier: {tries: Record<string, Try[]>, missing: number, why: string | null, goes_on: boolean}}>} */
  async function read(taskId) {
    const response = await fetch(grid.dataset.tasks + (taskId === undefined ? "" : `?task_id=${encodeURIComponent(taskId)}`));
    if (!response.ok) throw new Error(`status ${response.status}`);
    const answer = await response.json();
    const rows = answer.tasks.map((/** @type {unknown[]} */ values) =>
      Object.fromEntries(answer.columns.map((/** @type {string} */ name, /** @type {number} */ place) => [name, values[place]])));
    earlier = { ...earlier, ...answer.earlier.tries };
    return { rows, ...answer };
  }

  /** @param {string} taskId */
  async function readInstances(taskId) {
    const answer = await read(taskId);
    instances.set(taskId, answer.rows);
    return answer;
  }

  /** @returns {Promise<boolean>} Whether there may soon be more. */
  async function refresh() {
    const answers = [await read()];
    tasks = answers[0].rows;
    for (const { external_id: name, counts } of tasks) {
      if (counts && open.has(`task ${name}`)) answers.push(await readInstances(name));
    }
    if (!tasks.length && !answers[0].goes_on) document.getElementById("none")?.replaceChildren("No tasks.");
    if (!tasks.length) return answers[0].goes_on;
    if (!view.parentElement) fill();
    const isIncomplete = answers.some((answer) => answer.earlier.goes_on);
    const missing = answers.reduce((sum, answer) => sum + answer.earlier.missing, 0);
    const why = answers.map((answer) => answer.earlier.why).find(Boolean);
    note.hidden = !missing || isIncomplete;
    note.textContent = `The earlier tries of ${missing === 1 ? "one task" : `${missing} tasks`} are unknown${why ? `: ${why}` : "."}`;
    const focused = document.activeElement instanceof HTMLElement && body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    draw();
    if (focused) [...body.querySelectorAll("button")].find((each) => each.dataset.key === focused)?.focus({ preventScroll: true });
    return answers[0].goes_on || isIncomplete;
  }

  async function follow() {
    let goesOn = true;
    try {
      goesOn = document.hidden || await refresh();
    } catch {
      // The server is away for a moment: what is shown stays, and is read again.
    }
    if (goesOn) setTimeout(follow, INTERVAL_MILLISECONDS);
  }

  refresh().then((goesOn) => {
    if (goesOn) setTimeout(follow, INTERVAL_MILLISECONDS);
  }, () => {
    grid.replaceChildren();
    note.hidden = false;
    note.textContent = "The tasks could not be read. Reload the page.";
  });
})();
