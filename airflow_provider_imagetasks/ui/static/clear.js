// The deed after a failure: Clear by Airflow's own API and with the user's own right, after Airflow has said what it takes in.
import { AIRFLOW, AirflowLink, Button, h, nameOf, taskPath, useEffect, useRef, useState } from "./elements.js";
import { CLEARS, billedWords, count, errorTitle } from "./words.js";

const MOST_NAMED = 12;
export const CLEARED = "Cleared. Airflow runs it again.";

async function clearTasks(item, clear, isTrial) {
  const task = clear.map_index >= 0 ? [clear.task_id, clear.map_index] : clear.task_id;
  const which = clear.instance_id ? { task_instance_ids: [clear.instance_id] } : { task_ids: [task] };
  const answer = fetch(`${AIRFLOW}api/v2/dags/${encodeURIComponent(item.dag_id)}/clearTaskInstances`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({
      dry_run: isTrial,
      dag_run_id: item.run_id,
      ...which,
      include_downstream: true,
      only_failed: false,
      reset_dag_runs: true,
    }),
  });
  // Whoever stands between may answer with a page of its own, as a login does.
  const [status, told] = await answer.then(async (response) => [response.status, response.ok ? await response.json() : null]).catch(() => []);
  if (told?.task_instances) return told.task_instances;
  throw new Error(REFUSALS[status] ?? (status >= 400 ? `Airflow refused to clear it (HTTP ${status}).` : NO_ANSWER[isTrial]));
}

const NO_ANSWER = {
  true: "Airflow did not answer as expected. Reload the page and try again.",
  false: "Airflow did not answer as expected, so it may have been cleared. Reload the page to see.",
};

// Of a Dag that nobody may read it is not known, nor needed.
const isPaused = (dagId) =>
  fetch(`${AIRFLOW}api/v2/dags/${encodeURIComponent(dagId)}`)
    .then((response) => response.json())
    .then((dag) => dag.is_paused === true)
    .catch(() => false);

const REFUSALS = {
  401: "Your session has ended. Reload the page to log in again.",
  403: "You may not clear tasks of this Dag.",
  404: "This task or its run no longer exists.",
};

// Of a task instance that was never looked at, Airflow says no state; one that waits to be run has none.
const stateOf = (task) => (task.state === undefined ? null : (task.state ?? "about to run"));
const withState = (task) => [nameOf(task), stateOf(task) && `(${stateOf(task)})`].filter(Boolean).join(" ");
const looksOf = (tasks) => JSON.stringify(tasks.map(withState).sort());
const HAS_FAILED = ["failed", "upstream_failed", "up_for_retry"];

// What pays whenever it runs, also where the Clear begins behind it.
const submits = (task) => /^_?Image(TaskSubmit|Batch)/.test(task.operator ?? "");

function costWords(taken, clear) {
  const others = taken.filter((task) => task.task_id !== clear.task_id && submits(task));
  const words = others.length && clear.pays === "nothing" ? null : CLEARS[clear.pays][1];
  return [words, others.length ? `What these submit is paid for${words ? " too" : ""}: ${listed(others.map(nameOf))}.` : null].filter(Boolean).join(" ");
}

const listed = (names) => names.slice(0, MOST_NAMED).join(", ") + (names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : "");

// What somebody else did since the card was read: cleared again, a task that has come to its end pays once more.
function meanwhile(taken, at) {
  const failed = taken.find((task) => nameOf(task) === nameOf(at));
  const state = failed && stateOf(failed);
  return state && !HAS_FAILED.includes(state) ? `Check first: ${nameOf(at)} is no longer failed, it is ${state}.` : null;
}

function Confirmation({ item, clear, taken, at, paused, onChanged, onDone, onLeave }) {
  const [told, setTold] = useState(null);
  const isSent = useRef(false);
  const confirm = async () => {
    if (isSent.current) return;
    isSent.current = true;
    setTold("…");
    try {
      const now = await clearTasks(item, clear, true);
      if (looksOf(now) !== looksOf(taken)) {
        onChanged(now);
        setTold("This has changed in the meantime. Clear it as it is now?");
        isSent.current = false;
        return;
      }
      await clearTasks(item, clear, false);
      onDone();
    } catch (error) {
      setTold(error.message);
      isSent.current = false;
    }
  };
  // A key that is still held down from the step before confirms nothing.
  const onKeyDown = (event) => event.repeat && event.preventDefault();
  const warning = meanwhile(taken, at);
  return h(
    "div",
    { className: "it-confirm", role: "group", "aria-label": "Clear", onKeyDown },
    taken.length
      ? h("p", null, h("strong", null, `This clears ${count(taken.length, "task instance")}: `), listed(taken.map(withState)))
      : h("p", null, "There is nothing to clear: the task is no longer in its Dag."),
    warning ? h("p", { role: "alert" }, h("strong", null, warning)) : null,
    taken.length ? h("p", null, costWords(taken, clear)) : null,
    paused ? h("p", { role: "alert" }, "The Dag is paused: what is cleared waits until somebody turns it on.") : null,
    told ? h("p", { role: "alert" }, told) : null,
    h(
      "div",
      { className: "it-actions" },
      h(Button, { className: "it-main", autoFocus: true, disabled: !taken.length || told === "…", onClick: confirm }, "Clear"),
      h(Button, { onClick: onLeave }, "Leave as it is"),
    ),
  );
}

// What happened, whether it was billed, what to do in the log's own words, and doing it.
export function Failure({ item, asked, onCleared }) {
  const [step, setStep] = useState(null);
  const place = useRef(null);
  // A button that had the focus goes with its step, and keys must still arrive here.
  useEffect(() => {
    if (step && document.activeElement === document.body) place.current.focus();
  }, [step]);
  const begin = async (clear) => {
    setStep({ clear, words: "Asking Airflow what this would clear…" });
    try {
      const [taken, paused] = await Promise.all([clearTasks(item, clear, true), isPaused(item.dag_id)]);
      setStep({ clear, taken, paused });
    } catch (error) {
      setStep({ clear, words: error.message });
    }
  };
  const clears = item.clears ?? [];
  useEffect(() => {
    if (asked && clears[0]) begin(clears[0]);
  }, []);
  // Not all of the card's place: one of the two may be in a loop, and the other not.
  const at = { dag_id: item.dag_id, run_id: item.run_id, ...item.log_at };
  return h(
    "section",
    { ref: place, tabIndex: -1, className: "it-failure", "aria-label": "Why it failed" },
    h("h3", null, errorTitle(item.error)),
    item.error?.message ? h("p", { className: "it-message" }, item.error.message) : null,
    item.error ? h("p", null, h("strong", null, billedWords(item.error))) : null,
    h("p", null, item.state === "retried" ? "Airflow runs it again." : item.advice),
    h("p", null, h(AirflowLink, { to: taskPath(at) }, `Log of ${nameOf(at)}`)),
    step?.taken
      ? h(Confirmation, { item, at, ...step, onChanged: (taken) => setStep({ ...step, taken }), onLeave: () => setStep({}), onDone: () => (setStep({ words: CLEARED }), onCleared?.()) })
      : h(
          "div",
          { className: "it-actions" },
          step?.words ? h("p", { role: "status" }, step.words) : null,
          clears.map((clear) =>
            h(Button, { key: clear.pays, title: CLEARS[clear.pays][1], onClick: () => begin(clear) }, `${CLEARS[clear.pays][0]}: ${nameOf(clear)}`),
          ),
        ),
  );
}
