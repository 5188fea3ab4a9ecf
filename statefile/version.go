package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// version is the format of the files that Save writes. They do not name it: a file without the member
// "version" has format 1.
//
// A later version of failover that only adds members leaves the format as it is. This version ignores
// such members, and its next Save drops them. A later version whose files this one must neither use
// nor replace writes the member "version" with a higher number.
const version = 1

// A VersionError says that a file is whole, and that only another version of failover can read it.
// Nobody may rename, replace or remove such a file.
type VersionError struct {
	Path          string
	Format, Known int    // the file's format, and the one that this program reads
	Detail        string // what this program does not know; "" means the format
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

// Check returns a *VersionError when only a later version of failover can read a file. It changes
// nothing, and leaves every other fault of a file to Load.
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

// checkVersion reads the format of a file whose checksum matches. A damaged file names no format.
func checkVersion(path string, text []byte) error {
	content, whole := unsealed(text)
	if !whole {
		return nil
	}
	var members struct {
		Version int `json:"version"`
	}
	wrongType := new(json.UnmarshalTypeError)
	err := json.Unmarshal(append(bytes.Clone(content), '}'), &members)
	switch {
	case errors.As(err, &wrongType):
		return &VersionError{Path: path, Format: version + 1, Known: version, Detail: "its format is not a number"}
	case err != nil:
		return nil // no version writes what is not JSON
	case members.Version > version:
		return &VersionError{Path: path, Format: members.Version, Known: version}
	case len(text) > limit:
		detail := fmt.Sprintf("it is larger than %d bytes", limit)
		return &VersionError{Path: path, Format: version, Known: version, Detail: detail}
	}
	return nil
}
