package scenario

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"giantlizard.example/failover/textfile"
)

//go:embed library/*.txt
var files embed.FS

// library parses the scenarios once. It panics if a text cannot be parsed; a test checks that all can.
var library = sync.OnceValue(func() (all []Scenario) {
	names, err := fs.Glob(files, "library/*.txt")
	for _, name := range names {
		var text []byte
		var s Scenario
		if text, err = files.ReadFile(name); err == nil {
			s, err = Parse(strings.TrimSuffix(path.Base(name), ".txt"), string(text))
		}
		if err != nil {
			break
		}
		all = append(all, s)
	}
	if err != nil {
		panic(err)
	}
	return all
})

// Library returns the scenarios that come with the program, sorted by name.
func Library() []Scenario { return slices.Clone(library()) }

// Find returns the scenario of the library that has this name.
func Find(name string) (Scenario, error) {
	var names []string
	for _, s := range library() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("scenario: no scenario is named %.60q; the library has %s",
		name, strings.Join(names, ", "))
}

// Load returns the scenario of the library that has this name. If there is none, it reads the file with this name.
func Load(nameOrFile string) (Scenario, error) {
	s, err := Find(nameOrFile)
	if err == nil {
		return s, nil
	}
	text, bad := textfile.Read(nameOrFile, longestText)
	if bad != nil {
		return Scenario{}, fmt.Errorf("%w; and no file can be read: %w", err, bad)
	}
	return Parse(nameOrFile, string(text))
}
