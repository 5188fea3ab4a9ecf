//go:build unix

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

// The scripts have the arguments of those in Microsoft's samples.
func TestScriptsMoveADeviceAndPrintTheirUsage(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	env := append(s.controlFile(t), "FAILOVER="+binary)
	for _, move := range []string{"failover", "failback"} {
		script, err := filepath.Abs("../../scripts/" + move + ".sh")
		must(t, err)
		if info, err := os.Stat(script); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s cannot be run: %v", script, err)
		}
		p := start(t, scripted(t, env, script, "127", "dev1", "my app", "0.0.1:"+s.port()))
		p.wantExit(0)
		requests := s.requests(t, "Bearer "+emulatorToken)
		if len(requests) != 1 || !strings.HasPrefix(requests[0], "POST /system/iothub/devices/dev1/manual-"+move) ||
			!strings.Contains(p.stdout.String(), hubA) {
			t.Errorf("%s asked %q and printed %s", move, requests, &p.stdout)
		}
		for _, args := range [][]string{nil, {"127"}, {"127", "dev1", "myapp"}, {"127", "", "myapp", "suffix"},
			{"127", "dev1", "myapp", "suffix", "more"}} {
			p := start(t, scripted(t, env, script, args...))
			p.wantExit(2)
			want := "usage: " + script + " APPLICATION-ID DEVICE-ID APPLICATION-HOST-NAME DNS-SUFFIX\n"
			if p.stderr.String() != want {
				t.Errorf("%s %q says %s", move, args, &p.stderr)
			}
		}
		// The program is found by its name in the PATH.
		c := scripted(t, s.controlFile(t), script, "127", "dev1", "myapp", "0.0.1:"+s.port())
		c.Env = append(c.Env, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		start(t, c).wantExit(0)
		s.requests(t, "Bearer "+emulatorToken)
	}
}

// scripted prepares a script as command prepares the binary.
func scripted(t *testing.T, env []string, script string, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, env)
	return &exec.Cmd{Path: script, Args: append([]string{script}, args...), Dir: c.Dir, Env: c.Env}
}

// These scripts cannot run here. The test compares their text with that of the shell scripts, and
// checks the lines that cmd.exe needs.
func TestScriptsForWindowsMatchTheShellScripts(t *testing.T) {
	for _, move := range []string{"failover", "failback"} {
		text, err := os.ReadFile("../../scripts/" + move + ".bat")
		must(t, err)
		lines := strings.Split(strings.TrimSuffix(string(text), "\r\n"), "\r\n")
		if rest := strings.Join(lines, ""); strings.ContainsAny(rest, "\r\n") ||
			!strings.HasSuffix(string(text), "\r\n") {
			t.Errorf("%s: not every line ends with CR LF", move)
		}
		if strings.ContainsFunc(string(text), func(r rune) bool { return r > '~' }) {
			t.Errorf("%s is not ASCII", move)
		}
		script, err := os.ReadFile("../../scripts/" + move + ".sh")
		must(t, err)
		_, call, _ := strings.Cut(string(script), `" central `)
		for i := range 4 {
			call = strings.ReplaceAll(call, fmt.Sprintf(`"$%d"`, i+1), fmt.Sprintf(`"%%~%d"`, i+1))
		}
		for _, want := range []string{
			"@echo off", `if "%~1"=="" goto usage`, `if "%~2"=="" goto usage`, `if "%~3"=="" goto usage`,
			`if "%~4"=="" goto usage`,
			// and not failover, which this file is called
			`if not "%~5"=="" goto usage`, `if not defined FAILOVER set "FAILOVER=failover.exe"`,
			`"%FAILOVER%" central ` + strings.TrimSuffix(call, "\n"), "exit /b %ERRORLEVEL%", ":usage",
			"echo usage: %~nx0 APPLICATION-ID DEVICE-ID APPLICATION-HOST-NAME DNS-SUFFIX 1>&2", "exit /b 2",
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("%s has no line %q", move, want)
			}
		}
	}
}
