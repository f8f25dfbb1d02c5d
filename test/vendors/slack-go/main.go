// slack-go writes the token into every form, where the gateway takes none. Run by scripts/test-clients.ts.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/slack-go/slack"
)

func main() {
	client := slack.New(os.Getenv("TOKEN"), slack.OptionAPIURL(os.Getenv("GATEWAY")+"/proxy/slack/api/"))
	if _, err := client.GetConversationInfo("C1", false); err == nil || !strings.Contains(err.Error(), "401") {
		fmt.Fprintln(os.Stderr, "It is not refused as docs/gateway.md says:", err)
		os.Exit(1)
	}
	fmt.Println("slack-go is refused.")
}
