import { render } from "preact";
import { App } from "./app.tsx";
import { read, RequestError } from "./request.ts";
import { me, showTheme, type Person } from "./state.ts";
import { Fault } from "./ui.tsx";

showTheme();
const root = document.getElementById("app")!;

async function begin(): Promise<void> {
  try {
    const { person } = await read<{ person: Person }>("/people/me");
    me.value = person;
    render(<App />, root);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    // A sign-in link opens a session that only makes a passkey, at /sign-in.
    if (error.code === "role_required") location.replace("/sign-in");
    else if (error.code !== "sign_in_required") {
      render(
        <main>
          <h1>The console cannot be opened</h1>
          <Fault error={error} retry={() => void begin()} />
        </main>,
        root,
      );
    }
  }
}

await begin();
