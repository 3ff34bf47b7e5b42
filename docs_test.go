package awsoidc_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc"
)

// The program of docs/observability.md, letter for letter. Those of the other
// pages use go-oidc: examples/on-behalf-of/docs_test.go compiles and runs them.

// audit returns what writes a line about every request to AWS: for
// ExchangerConfig.Observe.
func audit(log *slog.Logger) func(context.Context, awsoidc.Event) {
	return func(ctx context.Context, e awsoidc.Event) {
		level := slog.LevelInfo
		if e.Err != nil {
			level = slog.LevelWarn
		}
		log.LogAttrs(ctx, level, "on behalf of a user", slog.Any("event", e))
	}
}

func Example_observability() {
	observe := audit(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTimes})))
	observe(context.Background(), awsoidc.Event{
		Application: "reports",
		Subject:     awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"},
		Rung:        awsoidc.RungExchange,
	})
	observe(context.Background(), awsoidc.Event{Rung: awsoidc.RungRefresh, Err: awsoidc.ErrAccessDenied})
	// Output:
	// level=INFO msg="on behalf of a user" event.application=reports event.issuer=https://login.example.com event.subject=jane event.rung=exchange
	// level=WARN msg="on behalf of a user" event.application="" event.issuer="" event.subject="" event.rung=refresh event.error="awsoidc: access was denied"
}

// TestDocsProgram compares the page with what is compiled here.
func TestDocsProgram(t *testing.T) {
	_, rest, _ := strings.Cut(readFile(t, "docs/observability.md"), "\n```go\n")
	block, _, found := strings.Cut(rest, "```")
	if !found || !strings.Contains(readFile(t, "docs_test.go"), "\n"+block) {
		t.Errorf("not in docs_test.go as docs/observability.md has it:\n%s", block)
	}
}

// TestDocsLinks follows the links within the pages and of README.md.
func TestDocsLinks(t *testing.T) {
	index := readFile(t, "docs/README.md")
	for _, page := range append(docsPages(t), "README.md") {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(readFile(t, page), -1) {
			path, fragment, _ := strings.Cut(link[1], "#")
			if strings.HasPrefix(path, "https://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: %v", page, err)
			} else if fragment != "" && !info.IsDir() && !hasHeading(readFile(t, target), fragment) {
				t.Errorf("%s: %s has no heading %s", page, target, fragment)
			}
		}
	}
}

// hasHeading reports whether a page has a heading that GitHub gives this anchor.
func hasHeading(page, anchor string) bool {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		if strings.ReplaceAll(strings.ToLower(drop.ReplaceAllString(heading[1], "")), " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestDocsErrors looks for the texts of the table of errors in the package.
func TestDocsErrors(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source bytes.Buffer
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			source.WriteString(readFile(t, file))
		}
	}
	_, table, _ := strings.Cut(readFile(t, "docs/oidc.md"), "\n| error | the text says | look at |\n|---|---|---|\n")
	rows := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		if len(cells) != 3 {
			break
		}
		rows++
		if !strings.Contains(source.String(), cells[1]) {
			t.Errorf("no error says %q", cells[1])
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows", rows)
	}
}

func docsPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return pages
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), "\r\n", "\n") // of a checkout on Windows
}
