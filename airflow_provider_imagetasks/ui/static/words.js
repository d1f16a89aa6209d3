// How things are called and numbers are written.

// Words by name, of which what comes from outside may have any: without those that every object inherits.
const named = (words) => Object.assign(Object.create(null), words);

export const STATES = {
  waiting: "Waiting",
  ready: "About to be stored",
  stored: "Stored",
  not_stored: "Not stored",
  retried: "Tried again",
  failed: "Failed",
  unfinished: "No result",
};

export const BATCH_STATES = { waiting: "Under way", stored: "Done", failed: "Failed" };

export const ERRORS = named({
  AuthenticationError: "The service does not accept the key",
  QuotaExceededError: "The account has no balance left",
  InvalidRequestError: "The request was invalid",
  ContentPolicyError: "Refused by the content policy",
  RateLimitError: "Too many requests",
  ServiceUnavailableError: "The service was unavailable",
  ProtocolError: "The service's answer could not be understood",
  UnknownOutcomeError: "Nobody knows whether it was accepted",
  ImageTaskFailedError: "The service failed to make it",
  ImageTaskNotFoundError: "The service does not know the image task",
  ImageTaskTimeoutError: "Not finished in time",
  DownloadError: "The picture could not be fetched",
  ResultExpiredError: "The picture was not fetched in time",
  UnsafeResultError: "The result was not safe to store",
  ImageTaskError: "It failed",
});

// The same within "8 ...".
const COUNTED_ERRORS = named({
  AuthenticationError: "with a key that is not accepted",
  QuotaExceededError: "with no balance left",
  InvalidRequestError: "with an invalid request",
  ContentPolicyError: "refused by content policy",
  RateLimitError: "after too many requests",
  ServiceUnavailableError: "while the service was unavailable",
  ProtocolError: "with an answer that could not be understood",
  UnknownOutcomeError: "with unknown outcome",
  ImageTaskFailedError: "failed at the service",
  ImageTaskNotFoundError: "not known to the service",
  ImageTaskTimeoutError: "not finished in time",
  DownloadError: "not fetched",
  ResultExpiredError: "not fetched in time",
  UnsafeResultError: "not safe to store",
});

// What our own code says more exactly than the class of the error.
const CODES = named({ max_cost: "Not submitted: max_cost is reached", budget: "Not submitted: the budget is spent" });

const BILLED = named({ yes: "It was billed.", no: "It was not billed.", unknown: "It may have been billed." });

export const errorTitle = (error) => CODES[error?.code] ?? ERRORS[error?.class] ?? error?.class ?? "It failed";
export const billedWords = (error) => BILLED[error?.billed] ?? "";
export const countedError = (name, number) => `${number} ${COUNTED_ERRORS[name] ?? `failed (${name || "unknown"})`}`;

// What a Clear does, and what it costs.
export const CLEARS = {
  picture: ["Clear for a new picture", "A new picture is requested and paid for."],
  maybe: ["Clear to submit again", "You pay again if the first submission was accepted."],
  rows: ["Clear to repeat the failed rows", "Each failed row is submitted again and paid for, and so is each that was not submitted yet; delivered pictures are kept."],
  nothing: ["Clear to try again", "It costs nothing: nothing is submitted, what the service has is read again."],
};

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function bytes(size) {
  if (size < 1e6) return `${Math.max(1, Math.round(size / 1e3))} kB`;
  return `${(size / 1e6).toFixed(1)} MB`;
}

// As Airflow writes moments, in the time zone that was chosen there.
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : momentFormat().format(date);
}

// To make one takes longer than to draw a card.
let known = {};

function momentFormat() {
  const chosen = localStorage.getItem("timezone");
  if (!known.format || known.chosen !== chosen) known = { chosen, format: formatIn(chosen) };
  return known.format;
}

function formatIn(chosen) {
  const format = (timeZone) => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone });
  try {
    return format((chosen?.startsWith('"') ? JSON.parse(chosen) : chosen) ?? undefined);
  } catch {
    return format();
  }
}

export const amount = (number) => number.toLocaleString("en-US");

export const count = (number, word, words = `${word}s`) => `${amount(number)} ${number === 1 ? word : words}`;

export function usageWords(usage) {
  return Object.entries(usage ?? {})
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
    .join(", ");
}

export function cost(value, currency) {
  const digits = value >= 0.1 || value === 0 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 3 };
  return [value.toLocaleString("en-US", digits), currency].filter(Boolean).join(" ");
}

export const OUT_OF_REACH = {
  outside: "Stored outside the folders that the gallery may show.",
  no_roots: "Stored, but not shown: [imagetasks] gallery_roots does not name its folder for this Dag.",
  missing: "The file is no longer there or cannot be read.",
};
