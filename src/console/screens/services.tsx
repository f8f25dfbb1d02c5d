import { useState } from "preact/hooks";
import type {
  ExplainResponse,
  Service,
  ServiceCheckResponse,
  ServiceListResponse,
  ServiceResponse,
} from "../../client/wire.ts";
import { useAction, useLoad } from "../load.ts";
import { change, read, segment } from "../request.ts";
import { snippetsOf } from "../snippets.ts";
import { isAdmin } from "../state.ts";
import { plural } from "../text.ts";
import {
  ActionButton,
  Badge,
  Button,
  Card,
  Copyable,
  Empty,
  Facts,
  Fault,
  Field,
  Form,
  PageHead,
  Quoted,
  Ready,
  ReadyScreen,
  Search,
  Tag,
  TextField,
} from "../ui.tsx";

export function ServiceList() {
  const loaded = useLoad(
    "services",
    async (signal) => (await read<ServiceListResponse>("/services", {}, signal)).services,
  );
  return (
    <>
      <PageHead title="Services" sub="The APIs that agents reach through the gateway." />
      <Card pad={false}>
        <Ready of={loaded} lines={6}>
          {(services) => (
            <table class="stack">
              <thead>
                <tr>
                  <th>Service</th>
                  <th>Credential</th>
                  <th class="hide">What can be granted</th>
                  <th class="num hide">Rules</th>
                </tr>
              </thead>
              <tbody>
                {services.map((service) => (
                  <tr key={service.name}>
                    <td>
                      <a class="t" href={`/console/services/${segment(service.name)}`}>
                        <Quoted text={service.name} most={80} brief />
                      </a>
                      <div class="s">
                        <Quoted text={service.base_url ?? "no base URL is set"} most={100} />
                      </div>
                    </td>
                    <td>
                      <CredentialBadge service={service} />
                    </td>
                    <td class="hide">
                      <div class="tags">
                        {Object.keys(service.resources).map((resource) => (
                          <Tag text={resource} />
                        ))}
                      </div>
                    </td>
                    <td class="num hide">{service.rule_count}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Ready>
      </Card>
    </>
  );
}

function CredentialBadge({ service }: { service: Service }) {
  if (service.base_url === null) return <Badge tone="mute">Not set up</Badge>;
  if (service.credential === "none") return <Badge tone="mute">None needed</Badge>;
  return service.secrets.length > 0 ? <Badge tone="good">Set</Badge> : <Badge tone="mute">Not set</Badge>;
}

export function ServiceScreen({ name }: { name: string }) {
  const loaded = useLoad(`service ${name}`, (signal) =>
    read<ServiceResponse>(`/services/${segment(name)}`, {}, signal),
  );
  return (
    <ReadyScreen of={loaded} kind="Service" all={{ href: "/console/services", name: "All services" }}>
      {(response) => <OneService response={response} />}
    </ReadyScreen>
  );
}

const RESULTS = {
  works: ["good", "Works"],
  refused: ["bad", "Refused"],
  unclear: ["warn", "Unclear"],
  unreachable: ["bad", "Unreachable"],
  not_configured: ["mute", "Not set up"],
} as const;

/** How many rules are shown at first. On a phone, the form and the snippets stand below them. */
const FIRST_RULES = 15;

function OneService({ response: { service, rules } }: { response: ServiceResponse }) {
  const [result, setResult] = useState<ServiceCheckResponse>();
  const [search, setSearch] = useState("");
  const [isWhole, setWhole] = useState(false);
  const shown = rules.filter(({ rule, required }) =>
    `${rule} ${required.join(" ")}`.toLowerCase().includes(search.toLowerCase()),
  );
  return (
    <>
      <PageHead
        title={<Quoted text={service.name} />}
        sub={<Quoted text={service.base_url ?? "No base URL is set."} most={200} />}
      >
        {isAdmin.value && (
          <ActionButton
            kind="primary"
            work={async () =>
              setResult(await change<ServiceCheckResponse>("POST", `/services/${segment(service.name)}/check`))
            }
          >
            Check the credential
          </ActionButton>
        )}
      </PageHead>
      {result && (
        <p class="note" role="status">
          <Badge tone={RESULTS[result.outcome][0]}>{RESULTS[result.outcome][1]}</Badge>{" "}
          <Quoted text={result.message} most={400} />
          {result.path !== null && (
            <span class="faint">
              {" "}
              GET <span class="mono">{result.path}</span> → {result.upstream_status ?? "no answer"}
              {result.duration_ms !== null && `, ${result.duration_ms} ms`}
            </span>
          )}
        </p>
      )}
      <div class="grid two">
        <div class="stackgap">
          <Card title={`Rules, ${rules.length}`} pad={false}>
            <div class="filters pad">
              <Search label="Search rules" value={search} search={setSearch} />
            </div>
            {shown.length === 0 && <Empty title="No rule matches." />}
            <ul class="list rules">
              {shown.slice(0, isWhole ? undefined : FIRST_RULES).map(({ rule, required, limitable }) => (
                <li>
                  <div>
                    <div class="mono">
                      <Quoted text={rule} most={200} />
                    </div>
                    {limitable.length > 0 && <div class="s">a grant may limit {limitable.join(", ")}</div>}
                  </div>
                  <div class="tags">
                    {required.map((permission) => (
                      <Tag text={permission} />
                    ))}
                  </div>
                </li>
              ))}
            </ul>
            {!isWhole && shown.length > FIRST_RULES && (
              <p class="pad">
                <Button onClick={() => setWhole(true)}>Show {plural(shown.length - FIRST_RULES, "more rule")}</Button>
              </p>
            )}
          </Card>
        </div>
        <div class="stackgap">
          <Card title="About">
            <Facts
              rows={[
                ["Credential", service.credential],
                [
                  "Secrets set",
                  service.secrets.length > 0 ? <span class="mono">{service.secrets.join(", ")}</span> : "none",
                ],
                ["Comes with", service.built_in ? "AgentAuth" : "your configuration"],
                ...Object.entries(service.resources).map(
                  ([resource, actions]) => [resource, actions.join(", ")] as const,
                ),
              ]}
            />
          </Card>
          {isAdmin.value && <Explain service={service} />}
          <Snippets service={service} />
        </div>
      </div>
    </>
  );
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const DECISIONS = { allow: "good", deny: "bad", refuse: "warn" } as const;

/** What the gateway would do with a request, without sending it. */
function Explain({ service }: { service: Service }) {
  const [method, setMethod] = useState("GET");
  const [path, setPath] = useState("/");
  const [agent, setAgent] = useState("");
  const [body, setBody] = useState("");
  const [explained, setExplained] = useState<ExplainResponse>();
  // The gateway refuses a GET with a body; of a DELETE some upstreams read it.
  const hasBody = method !== "GET";
  const action = useAction(async () => {
    setExplained(
      await change<ExplainResponse>("POST", "/proxy/_explain", {
        service: service.name,
        method,
        path,
        ...(agent.trim() && { agent_id: agent.trim() }),
        ...(hasBody && body && { body, headers: { "content-type": "application/json" } }),
      }),
    );
  });
  return (
    <Card title="What would happen">
      <Form action={action}>
        <Field label="Method">
          {(id) => (
            <select id={id} value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
              {METHODS.map((one) => (
                <option>{one}</option>
              ))}
            </select>
          )}
        </Field>
        <TextField
          label="Path"
          hint="As the upstream would get it, below its base URL."
          class="mono"
          required
          value={path}
          change={setPath}
        />
        <TextField
          label="Agent’s id"
          hint="Whose grants count. Empty: nobody’s."
          class="mono"
          value={agent}
          change={setAgent}
        />
        {hasBody && (
          <Field label="Body, as JSON">
            {(id) => <textarea id={id} rows={3} value={body} onInput={(event) => setBody(event.currentTarget.value)} />}
          </Field>
        )}
        <Button type="submit" isRunning={action.isRunning}>
          Explain
        </Button>
        <Fault error={action.error} />
      </Form>
      {explained && (
        <div role="status">
          <h3>
            <Badge tone={DECISIONS[explained.decision]}>{explained.decision}</Badge>{" "}
            <span class="mono">{explained.code}</span>
          </h3>
          <p>
            <Quoted text={explained.message} most={600} />
          </p>
          <Facts
            rows={[
              explained.path !== null && [
                "Path",
                <span class="mono">
                  <Quoted text={explained.path} most={300} />
                </span>,
              ],
              explained.rule !== null && [
                "Rule",
                <span class="mono">
                  <Quoted text={explained.rule} most={300} />
                </span>,
              ],
              explained.all_required.length > 0 && ["Needs", explained.all_required.join(", ")],
              explained.lacking.length > 0 && ["Lacks", explained.lacking.join(", ")],
              explained.violations.length > 0 && [
                "Breaks a limit",
                explained.violations.map(({ field, actual }) => (
                  <div class="mono" key={field}>
                    <Quoted text={field} most={100} /> is <Quoted text={JSON.stringify(actual)} most={200} />
                  </div>
                )),
              ],
              explained.limitable.length > 0 && ["May be limited", explained.limitable.join(", ")],
              explained.dropped.length > 0 && ["Not forwarded", explained.dropped.join(", ")],
            ]}
          />
        </div>
      )}
    </Card>
  );
}

/** How it is called. `client` is this product's SDK, `token` what its `getAccessToken()` returns. */
const Snippets = ({ service }: { service: Service }) => (
  <Card title="Use it">
    {snippetsOf(service.name, location.origin).map(({ client, code }) => (
      <div class="field" key={client}>
        <div class="label">{client}</div>
        <div class="pre">
          <Copyable value={code} />
        </div>
      </div>
    ))}
    <p class="hint">
      <span class="mono">client</span> is an <span class="mono">AgentAuthClient</span> of{" "}
      <span class="mono">agentauth/client</span>, <span class="mono">token</span> what its{" "}
      <span class="mono">getAccessToken()</span> returns.
    </p>
  </Card>
);
