import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { targetPolicy } from "../../src/webhooks/target-policy.ts";
import { validateTarget, type TargetPolicy } from "../../src/webhooks/target.ts";
import { testEnv } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const DEPLOYED: TargetPolicy = { allowLoopback: false, ports: [8443], ownPort: "8787", ownHost: "auth.example.com" };
const LAPTOP: TargetPolicy = { ...DEPLOYED, allowLoopback: true };

/** Ways around such checks, from public lists of server-side request forgery. */
const BYPASSES = [
  // Loopback, in every spelling of an IPv4 address that some resolver reads
  "https://127.0.0.1/",
  "https://127.1/",
  "https://127.0.1/",
  "https://127.255.255.254/",
  "https://2130706433/",
  "https://017700000001/",
  "https://0177.0.0.1/",
  "https://0177.0.0.01/",
  "https://00177.0000.0000.0001/",
  "https://0x7f000001/",
  "https://0x7f.0.0.1/",
  "https://0x7f.0x0.0x0.0x1/",
  "https://0x7f.1/",
  "https://127.0.0.0x1/",
  "https://127.0.0.1./",
  "https://%31%32%37%2e0.0.1/",
  "https://127%2e0%2e0%2e1/",
  "https://１２７.０.０.１/",
  "https://①②⑦.⓪.⓪.①/",
  "https://127。0。0。1/",
  "https://127．0．0．1/",
  "https://127｡0｡0｡1/",
  "https://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
  "https://4294967297/",
  "https://127.0.0.1.0/",
  "https://08.8.8.8/",
  "https://0/",
  "https://0.0.0.0/",
  "https://00.0.0.0/",
  "https://255.255.255.255/",
  // Private, shared, link-local, benchmarking, documentation, multicast
  "https://10.0.0.1/",
  "https://172.16.0.1/",
  "https://192.168.0.1/",
  "https://192.168.257/",
  "https://3232235777/",
  "https://100.64.0.1/",
  "https://169.254.169.254/latest/meta-data/",
  "https://2852039166/latest/meta-data/",
  "https://0xa9fea9fe/",
  "https://0251.0376.0251.0376/",
  "https://0xA9.0xFE.0xA9.0xFE/",
  "https://0251.254.169.254/",
  "https://198.18.0.1/",
  "https://224.0.0.1/",
  // A public address is still no name
  "https://8.8.8.8/",
  "https://134744072/",
  // IPv6 and what is mapped into it
  "https://[::1]/",
  "https://[::]/",
  "https://[0:0:0:0:0:0:0:1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[::127.0.0.1]/",
  "https://[64:ff9b::7f00:1]/",
  "https://[2002:7f00:1::]/",
  "https://[fe80::1]/",
  "https://[fc00::1]/",
  "https://[fd00:ec2::254]/",
  "https://[2606:4700:4700::1111]/",
  "https://[::1%25lo]/",
  "https://[fe80::1%eth0]/",
  "https://[::ffff:a9fe:a9fe]/",
  "https://[0000:0000:0000:0000:0000:ffff:7f00:0001]/",
  "https://[v1.127.0.0.1]/",
  // Names that lead inward
  "https://localhost/",
  "https://LOCALHOST/",
  "https://localhost./",
  "https://ｌｏｃａｌｈｏｓｔ/",
  "https://lo%63alhost/",
  "https://loc\u00adalhost/",
  "https://loc\u200dalhost/",
  "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
  "https://ℓocalhost/",
  "https://localhost%2e/",
  "https://localhost../",
  "https://foo.localhost/",
  "https://localhost.localdomain/",
  "https://printer.local/",
  "https://printer.local./",
  "https://vault.internal/",
  "https://metadata.google.internal/computeMetadata/v1/",
  "https://METADATA.google.INTERNAL/",
  "https://metadata.goog/",
  "https://metadata。google。internal/",
  "https://instance-data/",
  "https://instance-data.ec2.internal/",
  "https://metadata.packet.net/",
  "https://kubernetes.default.svc/",
  "https://kubernetes.default.svc.cluster.local/",
  "https://db.corp/",
  "https://nas.home.arpa/",
  "https://router.lan/",
  "https://wiki.intranet/",
  "https://1.0.0.127.in-addr.arpa/",
  "https://intranet/",
  "https://metadata/",
  "https://a/",
  "https://hidden.onion/",
  // Names that spell an address
  "https://127.0.0.1.nip.io/",
  "https://169-254-169-254.nip.io/",
  "https://7f000001.nip.io/",
  "https://www.10.0.0.1.sslip.io/",
  "https://10.0.0.1.xip.io/",
  "https://localtest.me/",
  "https://a.b.lvh.me/",
  "https://lacolhost.com/",
  // Itself
  "https://auth.example.com/agents",
  "https://AUTH.example.com./",
  "https://auth.example.com:8443/",
  "https://auth。example。com/",
  "https://auth.exam\u00adple.com/",
  "https://%61uth.example.com/",
  "https://hooks.example/",
  "https://hooks.test/",
  // Other doors
  "http://hooks.example.com/",
  "HTTP://hooks.example.com/",
  "ftp://hooks.example.com/",
  "file:///etc/passwd",
  "gopher://hooks.example.com/_",
  "dict://hooks.example.com:11211/",
  "data:text/plain,hello",
  "javascript:alert(1)",
  "blob:https://hooks.example.com/1",
  "ws://hooks.example.com/",
  "jar:https://hooks.example.com!/",
  "//hooks.example.com/",
  "/hooks",
  "hooks.example.com/",
  "https:",
  "https://",
  "",
  // Ports
  "https://hooks.example.com:22/",
  "https://hooks.example.com:80/",
  "https://hooks.example.com:8080/",
  "https://hooks.example.com:6379/",
  "https://hooks.example.com:0/",
  "https://hooks.example.com:65536/",
  // Credentials, and parsers that disagree about where the host is
  "https://user:password@hooks.example.com/",
  "https://user@hooks.example.com/",
  "https://@hooks.example.com/",
  "https://:@hooks.example.com/",
  "https://hooks.example.com@127.0.0.1/",
  "https://127.0.0.1@hooks.example.com/",
  "https://hooks.example.com:443@127.0.0.1/",
  "https://hooks.example.com#@127.0.0.1/",
  "https://127.0.0.1#@hooks.example.com/",
  "https://hooks.example.com\\@127.0.0.1/",
  "https://127.0.0.1\\@hooks.example.com/",
  "https:\\\\127.0.0.1/",
  "https://hooks.example.com /",
  " https://hooks.example.com/",
  "https://hooks.example.com/\r\nHost: 127.0.0.1",
  "https://127.0.0.1\t.example.com/",
  "https://127.0.0.1\n/",
  "https://hooks.example.com/\u0000",
  "ht\ntps://hooks.example.com/",
  "java\tscript:alert(1)",
  "https://hooks.example.com\u3000/",
  "https://hooks.example.com%2f@127.0.0.1/",
  "https://hooks.example.com:443:22/",
  "https://hooks.example.com:000022/",
  "https://hooks.example.com:４４３３/",
  "https:///127.0.0.1/",
  "https:127.0.0.1/",
  "https:/127.0.0.1/",
  "https://127.0.0.1:443/",
  "https://127.0.0.1%00.example.com/",
  "https://hooks_.-/",
  "https://xn--/",
  `https://hooks.example.com/${"a".repeat(2048)}`,
];

describe("where a webhook may go", () => {
  it.each(BYPASSES)("not %j", (url) => {
    expect(validateTarget(url, DEPLOYED)).toMatch(/^must /);
  });

  it.each([
    "https://hooks.example.com",
    "https://hooks.example.com/",
    "https://hooks.example.com:443/agentauth?tenant=1&x=%2F",
    "https://hooks.example.com:8443/",
    "https://HOOKS.example.com./a",
    "https://bücher.de/",
    "https://a-b.c_d.example.co.uk/x/../y",
    "https://3com.com/",
    "https://localhost.example.com/",
    "https://internal.example.com/",
    "https://my.locals/",
    // Digits of other scripts are letters to IDNA: xn--e4bcp.xn--d4b.xn--d4b.xn--e4b, a name that nobody has, and no address.
    "https://१२७.०.०.१/",
  ])("%s", (url) => {
    expect(validateTarget(url, DEPLOYED)).toBeUndefined();
  });

  it.each([
    ["http://127.0.0.1:9999/hook", undefined],
    ["http://localhost:9999/hook", undefined],
    ["https://hooks.example.com/", undefined],
    ["http://127.0.0.2/", "must begin with https://"],
    ["http://[::1]:9999/", "must begin with https://"],
    ["http://0.0.0.0:9999/", "must begin with https://"],
    ["http://10.0.0.1/", "must begin with https://"],
    ["http://localhost.example.com/", "must begin with https://"],
    ["http://user@localhost/", "must not hold credentials"],
    ["https://127.0.0.1/", "must name a host, not an IP address"],
    ["http://127.0.0.1:8787/agents/verify", "must not lead back to this service"],
    ["http://LOCALHOST.:8787/", "must not lead back to this service"],
    ["http://2130706433:8787/", "must not lead back to this service"],
  ])("on a laptop %s: %s", (url, fault) => {
    expect(validateTarget(url, LAPTOP)).toBe(fault);
  });

  it("on a laptop is not this gateway either when it is delivered, by any name, and is any other port of the machine", () => {
    const config = loadConfig(
      testEnv({ ENVIRONMENT: "development", ISSUER: "http://localhost:8787", WEBHOOK_ALLOW_LOOPBACK: "true" }),
    );
    for (const policy of [targetPolicy(config), targetPolicy(config, "http://127.0.0.1:8787/webhooks")]) {
      for (const host of ["localhost", "127.0.0.1"]) {
        expect(validateTarget(`http://${host}:8787/hook`, policy)).toBe("must not lead back to this service");
        expect(validateTarget(`http://${host}:9999/hook`, policy)).toBeUndefined();
      }
    }
  });

  it("is, of any URL that is accepted, a public name on an allowed port over TLS", SLOW, () => {
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6().map((address) => `[${address}]`),
      fc.stringMatching(/^[0-9a-fx.]{1,20}$/),
    );
    const url = fc
      .tuple(
        fc.constantFrom("https", "http", "HTTPS", "ftp"),
        fc.constantFrom("", "", "", "u@", "u:p@"),
        host,
        fc.constantFrom("", ":443", ":8443", ":80", ":22"),
        fc.webPath(),
      )
      .map(([scheme, user, name, port, path]) => `${scheme}://${user}${name}${port}${path}`);
    let through = 0;
    fc.assert(
      fc.property(url, (text) => {
        if (validateTarget(text, DEPLOYED) !== undefined) return;
        through += 1;
        const read = new URL(text);
        expect([read.protocol, read.username, read.password]).toEqual(["https:", "", ""]);
        expect(["", "8443"]).toContain(read.port);
        expect(read.hostname).toMatch(/\.[a-z][a-z0-9-]+\.?$/);
        expect(read.hostname).not.toMatch(/^\[|^[\d.]+$/);
      }),
      { numRuns: 2000 },
    );
    expect(through).toBeGreaterThan(10);
  });
});
