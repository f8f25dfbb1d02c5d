// go-github through the gateway. Run by scripts/test-clients.ts.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-github/github"
	"golang.org/x/oauth2"
)

func expect(what string, found, expected interface{}) {
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		fmt.Fprintf(os.Stderr, "%s: %v and not %v\n", what, found, expected)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	gateway, token := os.Getenv("GATEWAY"), os.Getenv("TOKEN")
	// This client sends the token to every host that it calls, also after a redirect.
	authorized := oauth2.NewClient(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}))
	client := github.NewClient(authorized)
	base, err := url.Parse(gateway + "/proxy/github/")
	expect("the base URL", err, nil)
	client.BaseURL, client.UploadURL = base, base

	repository, _, err := client.Repositories.Get(ctx, "o", "r")
	expect("a repository", err, nil)
	expect("its url", repository.GetURL(), gateway+"/proxy/github/repos/o/r")
	issue, _, err := client.Issues.Get(ctx, "o", "r", 5)
	expect("an issue", err, nil)
	expect("its title", issue.GetTitle(), "An issue")
	made, _, err := client.Issues.Create(ctx, "o", "r", &github.IssueRequest{Title: github.String("Made")})
	expect("a new issue", err, nil)
	expect("its number", made.GetNumber(), 6)

	var numbers []int
	options := &github.IssueListByRepoOptions{ListOptions: github.ListOptions{PerPage: 1}}
	for {
		page, response, err := client.Issues.ListByRepo(ctx, "o", "r", options)
		expect("a page", err, nil)
		for _, one := range page {
			numbers = append(numbers, one.GetNumber())
		}
		if response.NextPage == 0 {
			break
		}
		options.Page = response.NextPage
	}
	expect("the pages", numbers, []int{1, 2, 3})

	file, _, _, err := client.Repositories.GetContents(ctx, "o", "r", "docs/a.txt", nil)
	expect("a file", err, nil)
	text, err := file.GetContent()
	expect("its text", text, "text")
	_, _, err = client.Repositories.DownloadContents(ctx, "o", "r", "docs/a.txt", nil)
	expect("a download", err != nil && strings.Contains(err.Error(), "agentauth-removed="), true)

	_, _, err = client.PullRequests.Get(ctx, "o", "r", 1)
	denied, isError := err.(*github.ErrorResponse)
	expect("a refusal", isError && denied.Response.StatusCode == http.StatusForbidden, true)
	fmt.Println("go-github works.")
}
