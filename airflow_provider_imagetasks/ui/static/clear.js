// The deed after a failure: Clear by Airflow's own API and with the user's own right, after Airflow has said what it takes in.
import { AIRFLOW, AirflowLink, Button, h, nameOf, taskPath, useEffect, useRef, useState } from "./elements.js";
import { CLEARS, billedWords, count, errorTitle } from "./words.js";

const MOST_NAMED = 12;
export const CLEARED = "Cleared. Airflow runs it again.";

async function clearTasks(item, clear, isTrial) {
  const task = clear.map_index >= 0 ? [clear.task_id, clear.map_index] : clear.task_id;
  const which = clear.instance_id ? { task_instance_ids: [clear.instance_id] } : { task_ids: [task] };
  const response = await fetch(`${AIRFLOW}api/v2/dags/${encodeURIComponent(item.dag_id)}/clearTaskInstances`, {
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
  if (!response.ok) throw new Error(REFUSALS[response.status] ?? `Airflow refused to clear it (HTTP ${response.status}).`);
  return (await response.json()).task_instances;
}

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

// What somebody else did since the card was read: cleared again, a task that has come to its end pays once more.
function meanwhile(taken, at) {
  const failed = taken.find((task) => nameOf(task) === nameOf(at));
  const state = failed && stateOf(failed);
  return state && !HAS_FAILED.includes(state) ? `Check first: ${nameOf(at)} is no longer failed, it is ${state}.` : null;
}

function Confirmation({ item, clear, taken, at, onChanged, onDone, onLeave }) {
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
  const names = taken.slice(0, MOST_NAMED).map(withState);
  const warning = meanwhile(taken, at);
  return h(
    "div",
    { className: "it-confirm", role: "group", "aria-label": "Clear", onKeyDown },
    h("p", null, h("strong", null, `This clears ${count(taken.length, "task instance")}: `), names.join(", "), taken.length > MOST_NAMED ? ` and ${taken.length - MOST_NAMED} more` : ""),
    warning ? h("p", { role: "alert" }, h("strong", null, warning)) : null,
    h("p", null, CLEARS[clear.pays][1]),
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
  const begin = async (clear) => {
    setStep({ clear, words: "Asking Airflow what this would clear…" });
    try {
      setStep({ clear, taken: await clearTasks(item, clear, true) });
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
    { className: "it-failure", "aria-label": "Why it failed" },
    h("h3", null, errorTitle(item.error)),
    item.error.message ? h("p", { className: "it-message" }, item.error.message) : null,
    h("p", null, h("strong", null, billedWords(item.error))),
    h("p", null, item.state === "retried" ? "Airflow runs it again." : item.advice),
    h("p", null, h(AirflowLink, { to: taskPath(at) }, `Log of ${nameOf(at)}`)),
    step?.taken
      ? h(Confirmation, { item, at, ...step, onChanged: (taken) => setStep({ ...step, taken }), onLeave: () => setStep(null), onDone: () => (setStep({ words: CLEARED }), onCleared?.()) })
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
