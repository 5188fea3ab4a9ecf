package statefile

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestAdviceDependsOnTheNumberOfOpenFiles(t *testing.T) {
	for err, files := range map[error]bool{
		fmt.Errorf("open: %w", syscall.EMFILE): true, fmt.Errorf("open: %w", syscall.ENFILE): true,
		syscall.ENOSPC: false, nil: false,
	} {
		if got := Advice(err, "make room"); strings.Contains(got, "ulimit") != files || (got == "make room") == files {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestAdviceAboutAFileThatWouldBeTooLargeIsNotToMakeRoom(t *testing.T) {
	err := At(t.TempDir() + "/pet.json").Save(map[string]string{"name": strings.Repeat("x", limit)})
	if got := Advice(err, "make room"); !strings.Contains(got, "smaller properties") {
		t.Errorf("%v: %s", err, got)
	}
}
