// Copies a text to the clipboard, and says on its button that it did.
import { Button, h, useState } from "./elements.js";

export function Copy({ label, text }) {
  const [told, setTold] = useState(label);
  const copy = async () => {
    const content = typeof text === "function" ? text() : text;
    let isDone = true;
    try {
      await navigator.clipboard.writeText(content);
    } catch {
      // Browsers refuse the clipboard to pages without https.
      isDone = copyBySelection(content);
    }
    setTold(isDone ? "Copied" : "Could not be copied");
    setTimeout(() => setTold(label), 2000);
  };
  return h(Button, { onClick: copy, "aria-live": "polite" }, told);
}

function copyBySelection(text) {
  const dialog = document.querySelector("dialog.it-viewer");
  const focused = document.activeElement;
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  (dialog ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  // Keys arrive where they did before.
  focused?.focus();
  return isDone;
}

// A text as Python writes it, also where it would turn the direction of writing.
const python = (text) => JSON.stringify(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);

export function operatorCall(item, request) {
  const known = { task_id: item.task_id.split(".").at(-1), prompt: item.prompt, model: item.model, conn_id: item.conn_id };
  const texts = Object.fromEntries(Object.entries(known).map(([name, value]) => [name, value && python(value)]));
  const { task_id, conn_id, ...others } = texts;
  const given = { task_id, ...others, ...request.python, conn_id };
  // Of a prompt that is only known from its submission, the beginning is.
  const isExcerpt = !request.python?.prompt && item.prompt?.endsWith("…");
  const cut = [...(request.cut ?? []), ...(isExcerpt ? ["prompt"] : [])].map((name) => `    # ${name}: only part of it is known\n`);
  const lines = Object.entries(given)
    .filter(([, text]) => text)
    .map(([name, text]) => `    ${name}=${text},\n`);
  return `ImageTaskSubmitOperator(\n${cut.join("")}${lines.join("")})\n`;
}
