// @ts-check
// Rows, bars and the axis of the grid of tasks (gantt.js). Uses windsock.js.
"use strict";

/**
 * A task run, or a task with several (`counts` by state, without an id).
 * @typedef {{id: string | null, external_id: string, counts: Record<string, number> | null, map_index: number | null,
 *   rendered_map_index: string | null, loop: {id: string, iteration: number | null} | null, status: string,
 *   state_reason: string | null, try_number: number, queued_at: string | null, started_at: string | null,
 *   ended_at: string | null, duration_seconds: number | null, operator: string | null, provider_url: string,
 *   comment_count: number}} Task
 * @typedef {{try_number: number, status: string, queued_at: string | null, started_at: string | null, ended_at: string | null}} Try
 * @typedef {{key: string, name: string, depth: number, task: Task | null, folds: boolean, isOpen: boolean, of: Task[]}} Line
 * @typedef {{begin: number, end: number}} Scale
 */

const STATE_ORDER = ["failed", "upstream_failed", "running", "restarting", "up_for_retry", "queued", "scheduled", "deferred", "success", "skipped"];
const ACTIVE_STATES = ["running", "restarting", "deferred"];
const TICK_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const TICK_PIXELS = 80;

/** @param {string | null} text */
const milliseconds = (text) => (text ? Date.parse(text) : NaN);

/** @param {Task} task The iteration of a loop, the number of a mapped instance, and Airflow's name of it. */
function instanceName({ loop, map_index: index, rendered_map_index: name }) {
  return [loop && `iteration ${loop.iteration}`, index !== null && `[${index}]`, name !== String(index) && name].filter(Boolean).join(" ");
}

/** @param {Task} task When its last try ended, or now while one runs. */
function endOf(task) {
  const isActive = task.counts ? ACTIVE_STATES.some((state) => task.counts?.[state]) : !task.ended_at;
  return isActive ? Date.now() : milliseconds(task.ended_at);
}

/** @param {Task[]} tasks @param {Record<string, Try[]>} earlier @returns {Scale} */
function timeScale(tasks, earlier) {
  let [begin, end] = [Infinity, -Infinity];
  for (const task of tasks) {
    for (const each of [...(task.id ? earlier[task.id] || [] : []), task]) {
      const from = milliseconds(each.queued_at) || milliseconds(each.started_at);
      if (!Number.isFinite(from)) continue;
      begin = Math.min(begin, from);
      end = Math.max(end, ("counts" in each ? endOf(each) : milliseconds(each.ended_at)) || Date.now());
    }
  }
  if (!Number.isFinite(begin)) begin = Date.now();
  return { begin, end: end > begin ? end : begin + 1000 };
}

/** Ticks at round times since the start; the rows draw lines at the same places. @param {HTMLElement} axis @param {HTMLElement} grid @param {Scale} scale */
function drawAxis(axis, grid, { begin, end }) {
  const seconds = (end - begin) / 1000;
  const most = Math.max(1, Math.floor(axis.clientWidth / TICK_PIXELS));
  const step = TICK_SECONDS.find((size) => seconds / size <= most) || Math.ceil(seconds / most / 604800) * 604800;
  grid.style.setProperty("--tick", `${(step / seconds) * 100}%`);
  axis.replaceChildren();
  axis.title = `From ${new Date(begin).toLocaleString([], clock())}, for ${duration(seconds)}`;
  for (let at = 0; at <= seconds; at += step) {
    const tick = part("tick", undefined, "span");
    tick.style.left = `${(at / seconds) * 100}%`;
    tick.textContent = at ? `+${duration(at)}`.replace(".0 ", " ") : new Date(begin).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...clock() });
    if (at / seconds <= 1 - 0.8 / most || !at) axis.append(tick);
  }
}

/** @param {Task[]} tasks @returns {[string, number][]} */
function stateCounts(tasks) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const task of tasks) {
    for (const [state, count] of Object.entries(task.counts || { [task.status]: 1 })) counts.set(state, (counts.get(state) || 0) + count);
  }
  const rank = (/** @type {string} */ state) => (STATE_ORDER.includes(state) ? STATE_ORDER.indexOf(state) : STATE_ORDER.length);
  return [...counts].sort((one, other) => rank(one[0]) - rank(other[0]));
}

/** @param {HTMLElement} bars @param {Scale} scale @param {string} kind @param {number} from @param {number} to */
function drawBar(bars, { begin, end }, kind, from, to) {
  if (!Number.isFinite(from) || !Number.isFinite(to) || to < from) return;
  const bar = part(`bar ${kind}`);
  bar.style.left = `${((from - begin) / (end - begin)) * 100}%`;
  bar.style.width = `max(3px, ${((to - from) / (end - begin)) * 100}%)`;
  bars.append(bar);
}

/** @param {HTMLElement} bars @param {Scale} scale @param {Task} task @param {Try[]} tries */
function drawTask(bars, scale, task, tries) {
  for (const each of tries) {
    drawBar(bars, scale, "waited", milliseconds(each.queued_at), milliseconds(each.started_at));
    drawBar(bars, scale, `earlier ${each.status}`, milliseconds(each.started_at), milliseconds(each.ended_at));
  }
  const started = milliseconds(task.started_at);
  drawBar(bars, scale, "waited", milliseconds(task.queued_at), Number.isFinite(started) ? started : endOf(task));
  if (Number.isFinite(started)) drawBar(bars, scale, task.status, started, endOf(task));
  else drawBar(bars, scale, `${task.status} point`, milliseconds(task.ended_at), milliseconds(task.ended_at)); // never started
  bars.title = [...tries, task]
    .map((each) => `${task.try_number > 1 ? `try ${each.try_number}: ` : ""}${each.status.replace("_", " ")}${each.started_at ? `, started ${new Date(each.started_at).toLocaleString([], clock())}` : ""}`)
    .join("\n");
}

/** @param {HTMLElement} what @param {Line} line @param {(line: Line) => void} toggle */
function drawFold(what, line, toggle) {
  const button = /** @type {HTMLButtonElement} */ (part("plain", undefined, "button"));
  button.type = "button";
  button.dataset.key = line.key;
  button.textContent = `${line.isOpen ? "▾" : "▸"} ${line.name}`;
  button.setAttribute("aria-expanded", String(line.isOpen));
  button.addEventListener("click", () => toggle(line));
  what.append(button);
  for (const [state, count] of stateCounts(line.of)) {
    const chip = part(`state ${state}`, undefined, "span");
    chip.textContent = `${count}`;
    chip.title = `${count} ${state.replace("_", " ")}`;
    what.append(" ", chip);
  }
}

/** @param {HTMLElement} what @param {Line} line @param {Task} task */
function drawName(what, line, task) {
  const chip = part(`state ${task.status} small`, "img", "span");
  chip.title = task.status.replace("_", " ") + (task.state_reason ? `: ${task.state_reason}` : "");
  chip.setAttribute("aria-label", chip.title);
  const link = /** @type {HTMLAnchorElement} */ (part("open", undefined, "a"));
  link.href = task.provider_url;
  link.rel = "noreferrer";
  link.dir = "auto";
  link.textContent = line.name;
  link.title = `${task.external_id}${task.operator ? `, ${task.operator}` : ""}: ${chip.title}`;
  const comment = /** @type {HTMLAnchorElement} */ (part(`comment-link${task.comment_count ? "" : " none"}`, undefined, "a"));
  comment.href = task.comment_count ? `#about-${task.id}` : `?about=${task.id}`;
  comment.innerHTML = '<svg class="icon" width="14" height="14" aria-hidden="true"><use href="#comment-icon"></use></svg>';
  if (task.comment_count) comment.append(String(task.comment_count));
  comment.setAttribute("aria-label", task.comment_count ? `${task.comment_count} ${task.comment_count === 1 ? "comment" : "comments"} on ${task.external_id}` : `Comment on ${task.external_id}`);
  const log = /** @type {HTMLAnchorElement} */ (part("log-link", undefined, "a"));
  log.href = `${document.getElementById("grid")?.dataset.taskRuns}${task.id}/log`;
  log.textContent = "Log";
  log.setAttribute("aria-label", `Log of ${line.name}`);
  what.append(chip, " ", link, " ", log, " ", comment);
}

/** @param {Line} line @param {Scale} scale @param {Record<string, Try[]>} earlier @param {(line: Line) => void} toggle */
function taskRow(line, scale, earlier, toggle) {
  const row = part("line", "row");
  const [what, tries, took, bars] = ["what", "try", "took", "bars"].map((name) => part(name, "cell"));
  what.style.paddingLeft = `${8 + line.depth * 16}px`;
  if (line.folds) {
    drawFold(what, line, toggle);
    const from = Math.min(...line.of.map((each) => milliseconds(each.started_at)).filter(Number.isFinite));
    const to = Math.max(...line.of.filter((each) => each.started_at).map(endOf).filter(Number.isFinite));
    if (Number.isFinite(from) && Number.isFinite(to)) {
      const hasFailed = stateCounts(line.of).some(([state]) => state === "failed");
      drawBar(bars, scale, hasFailed ? "failed whole" : "whole", from, to);
      took.textContent = to >= from ? duration((to - from) / 1000) : "–";
    }
  } else if (line.task) {
    drawName(what, line, line.task);
    tries.textContent = String(line.task.try_number);
    took.textContent = line.task.duration_seconds === null ? "–" : duration(line.task.duration_seconds);
    drawTask(bars, scale, line.task, (line.task.id && earlier[line.task.id]) || []);
  }
  row.append(what, tries, took, bars);
  return row;
}
