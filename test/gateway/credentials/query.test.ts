import { inject } from "vitest";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { LAB, world, type Registered, type World } from "../../support/world.ts";

/** A credential that is a parameter of the query: `appid` of OpenWeather, `key` of Google Maps. */
const KEY = "key+of the/company=&ü'()*!~";
const ENCODED = "key%2Bof%20the%2Fcompany%3D%26%C3%BC%27%28%29%2A%21~";

let self: World;
let agent: Registered;

beforeAll(async () => {
  const upstream = { base_url: inject("upstream"), credential: { scheme: "query", name: "AppId" }, ...LAB };
  self = world({
    "UPSTREAMS.maps": upstream,
    "UPSTREAMS.free": { ...upstream, refuse_parameters: [] },
    UPSTREAM_MAPS_TOKEN: `${KEY}\n`,
    UPSTREAM_FREE_TOKEN: KEY,
  });
  agent = await self.agent(["maps:things:read", "maps:things:write", "free:things:write"]);
});

const call = (path: string, init?: RequestInit) => self.call(`/proxy${path}`, { ...init, token: agent.token });

describe("a credential in the query", () => {
  it.each([
    ["", `?AppId=${ENCODED}`],
    ["?", `?AppId=${ENCODED}`],
    ["?q=a+b%20c&r", `?q=a+b%20c&r&AppId=${ENCODED}`],
  ])("stands behind the request's own query %j, percent-encoded", async (query, sent) => {
    const { body } = await call(`/maps/lab/target/x${query}`);
    expect([...String(body)].toReversed().join("")).toBe(`/lab/target/x${sent}`);
  });

  it("is not an agent's to send, in a query or a form, whatever its spelling", async () => {
    const refused = { status: 400, body: { code: "parameter_refused" } };
    for (const service of ["maps", "free"]) {
      expect(await call(`/${service}/lab/target/x?appid=mine`)).toMatchObject(refused);
      expect(await call(`/${service}/lab/target/x?App%49d=`)).toMatchObject(refused);
      expect(await call(`/${service}/lab/target/x?[AppId]=mine`)).toMatchObject(refused);
      expect(
        await call(`/${service}/things`, { method: "POST", body: new URLSearchParams({ appId: "mine" }) }),
      ).toMatchObject(refused);
    }
    expect(await call("/maps/lab/target/x?token=t&key=k&method=m")).toMatchObject({ status: 200 });
    expect(await call("/maps/lab/target/x?_method=DELETE")).toMatchObject(refused);
    expect(await call("/free/lab/target/x?_method=DELETE")).toMatchObject({ status: 403 });
  });

  it("does not come back: not in a body, not in a header, not in a link", async () => {
    expect(await call("/maps/things")).toMatchObject({ status: 502, body: { code: "credential_echo" } });
    const { headers } = await call("/maps/lab/pages/x?q=1");
    expect(headers.get("link")).toBe('</proxy/maps/lab/pages/x?q=1&page=2>; rel="next"');
    expect(headers.get("x-copy")).toBeNull();
    const moved = await self.fetch("/proxy/maps/lab/pages/moved", { token: agent.token, redirect: "manual" });
    expect(moved.headers.get("location")).toBe("/proxy/maps/lab/pages/moved?moved=1");
  });

  it("is in no log line, also if the connection breaks", async () => {
    const lines: unknown[] = [];
    const spies = (["error", "warn"] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation((line) => void lines.push(line)),
    );
    expect(await call("/maps/lab/hangup/x")).toMatchObject({ status: 502 });
    for (const spy of spies) spy.mockRestore();
    expect(lines.join("")).toContain("upstream_unreachable");
    expect(decodeURIComponent(lines.join(""))).not.toContain(KEY);
    await self.drain();
  });
});
