package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// version is the format of the files that Save writes. A file without the member "version" has
// format 1, so the files do not name it.
//
// A later version of failover that only adds members keeps the format. This version ignores such
// members, and drops them when it saves the file. A later version whose files this version must
// neither use nor replace writes the member "version" with a higher number.
const version = 1

// A VersionError reports that a file is intact, and that only another version of failover can read
// it. The program must not rename, replace or remove such a file.
type VersionError struct {
	Path          string
	Format, Known int    // the format of the file, and the format that this program reads
	Detail        string // what this program cannot read in the file; "" means the format
}

func (e *VersionError) Error() string {
	age, what := "a later", fmt.Sprintf("it has format %d, and this version reads format %d", e.Format, e.Known)
	if e.Format < e.Known {
		age = "an earlier"
	}
	if e.Detail != "" {
		what = e.Detail
	}
	return fmt.Sprintf("%s was written by %s version of failover (%s); use that version, or another state directory",
		e.Path, age, what)
}

// Check returns a *VersionError if only a later version of failover can read a file. It changes
// nothing. Load finds all other faults of a file.
func Check(path string) error {
	text, _, err := read(path)
	if err != nil {
		return nil
	}
	if err := checkVersion(path, text); err != nil {
		return fmt.Errorf("statefile: %w", err)
	}
	return nil
}

// checkVersion returns a *VersionError if this version cannot read a file. It ignores the format of
// a damaged file.
func checkVersion(path string, text []byte) error {
	content, whole := unsealed(text)
	if !whole {
		return nil
	}
	var members struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(append(bytes.Clone(content), '}'), &members)
	switch {
	case errors.As(err, new(*json.UnmarshalTypeError)):
		return &VersionError{Path: path, Format: version + 1, Known: version, Detail: "its format is not a number"}
	case err != nil:
		return nil // not JSON, so no version of failover has written the file
	case members.Version > version:
		return &VersionError{Path: path, Format: members.Version, Known: version}
	case len(text) > limit:
		detail := fmt.Sprintf("it is larger than %d bytes", limit)
		return &VersionError{Path: path, Format: version, Known: version, Detail: detail}
	}
	return nil
}
