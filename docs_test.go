package failover_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const (
	readmeLines = 140 // what somebody reads who looks at the project for the first time
	lineColumns = 120 // largest width of a line of Go
	tabColumns  = 4   // width of a tab, as in most editors and viewers
)

func TestTheReadmeIsShort(t *testing.T) {
	if lines := strings.Count(read(t, "README.md"), "\n"); lines > readmeLines {
		t.Errorf("README.md has %d lines, more than %d: move something to docs", lines, readmeLines)
	}
}

func TestTheReadmeNamesEveryRoom(t *testing.T) {
	readme := read(t, "README.md")
	for _, room := range list(t, "-f", "{{.ImportPath}}", "./...") {
		room = strings.TrimPrefix(room, module)
		if strings.HasPrefix(room, "examples/") {
			room = "examples"
		}
		if room+"/" != module && !strings.Contains(readme, "\n"+room+" ") {
			t.Errorf("README.md has no sentence about %s", room)
		}
	}
}

// Everything that a document calls a test, a fuzz test or a benchmark is one.
func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	tests := testsByRoom(t)
	var known []string
	for _, names := range tests {
		known = append(known, names...)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	for _, document := range documents(t) {
		for _, name := range named.FindAllString(read(t, document), -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s names %s, which does not exist", document, name)
			}
		}
	}
}

// Every alternative of a -run, -skip or -bench that a document shows selects at least one test of the rooms it names.
func TestEveryGoTestCommandOfADocumentSelectsTests(t *testing.T) {
	tests := testsByRoom(t)
	flags := regexp.MustCompile(`-(run|skip|bench)[ =]('[^']*'|[^\s` + "`" + `]+)`)
	rooms := regexp.MustCompile(`(?:^|\s)\./([\w/]+)`)
	for _, document := range documents(t) {
		for line := range strings.Lines(read(t, document)) {
			_, command, is := strings.Cut(line, "go test ")
			if !is {
				continue
			}
			var known []string
			for _, room := range rooms.FindAllStringSubmatch(command, -1) {
				known = append(known, tests[room[1]]...)
			}
			for _, flag := range flags.FindAllStringSubmatch(command, -1) {
				pattern := strings.Trim(flag[2], "'")
				if pattern == "^$" { // no tests, because benchmarks follow
					continue
				}
				for alternative := range strings.SplitSeq(pattern, "|") {
					if !slices.ContainsFunc(known, regexp.MustCompile(alternative).MatchString) {
						t.Errorf("%s: no test matches -%s %s in %q",
							document, flag[1], alternative, strings.TrimSpace(line))
					}
				}
			}
		}
	}
}

func TestEveryFileOfGoThatADocumentNamesExists(t *testing.T) {
	named := regexp.MustCompile("`((?:\\w+/)+\\w+\\.go)`")
	for _, document := range documents(t) {
		for _, match := range named.FindAllStringSubmatch(read(t, document), -1) {
			if _, err := os.Stat(filepath.FromSlash(match[1])); err != nil {
				t.Errorf("%s names %s: %v", document, match[1], err)
			}
		}
	}
}

// The tours of CONTRIBUTING.md name files with their functions.
func TestEveryFunctionOfTheToursIsWhereTheySay(t *testing.T) {
	tour := regexp.MustCompile("`((?:\\w+/)+\\w+\\.go)`((?:,? `\\w+`)+)")
	name := regexp.MustCompile(`\w+`)
	for _, match := range tour.FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1) {
		code := read(t, match[1])
		for _, function := range name.FindAllString(match[2], -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + function + `[\[(]`).MatchString(code) {
				t.Errorf("CONTRIBUTING.md: %s has no function %s", match[1], function)
			}
		}
	}
}

func TestEveryLinkOfADocumentLeadsSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, document := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(prose(read(t, document)), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := document
			if target != "" {
				file = path.Join(path.Dir(document), target)
			}
			if _, err := os.Stat(filepath.FromSlash(file)); err != nil {
				t.Errorf("%s has a link to %s: %v", document, match[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s has a link to %s, but %s has no such heading", document, match[1], file)
			}
		}
	}
}

func TestLinesOfGoFitTheScreen(t *testing.T) {
	for _, file := range files(t, ".go") {
		number := 0
		for line := range strings.Lines(read(t, file)) {
			number++
			if columns := width(line); columns > lineColumns {
				t.Errorf("%s:%d has %d columns, more than %d", file, number, columns, lineColumns)
			}
		}
	}
}

// width returns the number of columns of a line. Tabs stand only at its beginning, as gofmt writes them.
func width(line string) int {
	return utf8.RuneCountInString(strings.TrimRight(line, "\r\n")) + (tabColumns-1)*strings.Count(line, "\t")
}

// testsByRoom returns the names of the tests, fuzz tests, benchmarks and examples in each folder.
func testsByRoom(t *testing.T) map[string][]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	tests := map[string][]string{}
	for _, file := range files(t, "_test.go") {
		room := path.Dir(file)
		for _, match := range declared.FindAllStringSubmatch(read(t, file), -1) {
			tests[room] = append(tests[room], match[1])
		}
	}
	return tests
}

// prose returns a document without its code blocks.
func prose(document string) string {
	return regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$").ReplaceAllString(document, "")
}

// anchors returns the anchors of a document's headings, as the common forges make them.
func anchors(document string) (anchors []string) {
	heading := regexp.MustCompile(`(?m)^#+ +(.*)$`)
	for _, match := range heading.FindAllStringSubmatch(prose(document), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(match[1]))
		anchors = append(anchors, anchor)
	}
	return anchors
}

func documents(t *testing.T) []string {
	t.Helper()
	return files(t, ".md")
}

// files returns the paths of the tree's files with a suffix, without those that were fetched.
func files(t *testing.T, suffix string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return filepath.SkipDir
		case !entry.IsDir() && strings.HasSuffix(name, suffix):
			found = append(found, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
