package observe_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func eventsDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// block is the document's first block in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	_, text, ok := strings.Cut(eventsDocument(t), "\n```"+language+"\n")
	text, _, closed := strings.Cut(text, "```\n")
	if !ok || !closed {
		t.Fatalf("docs/events.md has no block of %s", language)
	}
	return text
}

// explained are the words that head a row of a section's tables.
func explained(t *testing.T, section string) (words []string) {
	t.Helper()
	_, text, _ := strings.Cut(eventsDocument(t), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		words = append(words, row[1])
	}
	return words
}

// constants are the values of a package's string constants of a type, read from its source so that none is missed.
func constants(t *testing.T, directory, of string) (values []string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(directory, "*.go"))
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			typ, isTyped := spec.Type.(*ast.Ident)
			value, isLiteral := spec.Values[0].(*ast.BasicLit)
			if isTyped && typ.Name == of && isLiteral && value.Kind == token.STRING {
				text, _ := strconv.Unquote(value.Value)
				values = append(values, text)
			}
			return true
		})
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", directory, of)
	}
	return values
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/events.md explains the %s\n%q, there are\n%q", what, got, want)
	}
}

func TestDocumentExplainsEveryKind(t *testing.T) {
	wantSame(t, "kinds", explained(t, "Kinds"), constants(t, ".", "Kind"))
	if len(kinds) != len(constants(t, ".", "Kind")) {
		t.Error("these tests do not try every kind")
	}
}

func TestDocumentExplainsEveryField(t *testing.T) {
	var names []string
	for field := range reflect.TypeFor[observe.Record]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	wantSame(t, "fields", explained(t, "Fields"), names)
}

func TestDocumentExplainsEveryCause(t *testing.T) {
	words := []string{"error"}
	words = append(words, constants(t, "../outbox", "Reason")...)
	words = append(words, constants(t, "../transport", "Reason")...)
	words = append(words, constants(t, "../provisioning", "Verdict")...)
	for _, one := range []string{string(transport.Silence), string(provisioning.Throttled)} {
		if !slices.Contains(words, one) {
			t.Errorf("%q is not among the causes that were found", one)
		}
	}
	wantSame(t, "causes", explained(t, "Causes"), words)
}

func TestDocumentNamesLevelsPhasesOutcomesAndBounds(t *testing.T) {
	text := eventsDocument(t)
	words := append(constants(t, ".", "Level"), constants(t, ".", "Phase")...)
	words = append(words, observe.Reconnected, observe.FailedOver, observe.FailedBack)
	for _, word := range words {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("no word about %q", word)
		}
	}
	if !strings.Contains(text, strconv.Itoa(depth)+" records may wait") {
		t.Error("no word about how many records may wait")
	}
}

func TestDocumentShowsLinesAsTheyArePrinted(t *testing.T) {
	lost := time.Date(2026, 3, 1, 9, 12, 15, 814e6, time.UTC)
	closed := &transport.Error{Reason: transport.Closed, Host: hubA, Err: errors.New("EOF")}
	refused := &transport.Error{Reason: transport.ConnectionRefused, Host: hubB, Err: errors.New("connection refused")}
	got := printed(true, observe.Info, observe.Record{
		Time: lost, Level: observe.Warn, Kind: observe.Transition, Device: "lizard-1", From: "Connected", Event: "lost",
		To: "Failover", Phase: observe.Disconnected, Hub: hubA, Cause: string(closed.Reason),
		Error: closed.Error(), SpentMS: 4_320_000,
	}, observe.Record{
		Time: lost.Add(244 * time.Millisecond), Level: observe.Warn, Kind: observe.Waiting, Device: "lizard-1",
		State: "Failover", Event: "retry-hub", Next: lost.Add(1057 * time.Millisecond),
		Cause: string(refused.Reason), Error: refused.Error(),
	}, observe.Record{
		Time: lost.Add(1132 * time.Millisecond), Level: observe.Info, Kind: observe.Outcome, Device: "lizard-1",
		Outcome: observe.FailedOver, FromHub: hubA, Hub: hubB, SpentMS: 1132,
	})
	if want := block(t, "json"); got != want {
		t.Errorf("docs/events.md shows\n%sprinted is\n%s", want, got)
	}
}

func TestDocumentShowsATraceAsItIsPrinted(t *testing.T) {
	wantTrace(t, logged(failedOver), block(t, "text"))
}
