//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// atHome returns a command whose home directory has a file for each path, and the environment without
// the paths.
func atHome(t *testing.T) (home string, env []string) {
	t.Helper()
	cloud := newCloud(t)
	home = t.TempDir()
	must(t, cloud.Enroll("dev1", oldKey), os.WriteFile(filepath.Join(home, "device.key"), []byte(oldKey), 0o600),
		os.WriteFile(filepath.Join(home, "ca.pem"), cloud.CAPEM(), 0o600))
	for _, v := range withoutKey(deviceEnv(t, cloud)) {
		if !strings.HasPrefix(v, "FAILOVER_CA_FILE=") && !strings.HasPrefix(v, "FAILOVER_STATE_DIR=") {
			env = append(env, v)
		}
	}
	return home, env
}

var pathsAtHome = []string{"FAILOVER_DEVICE_KEY_FILE=~/device.key", "FAILOVER_CA_FILE=~/ca.pem",
	"FAILOVER_STATE_DIR=~/st"}

// No shell expands a ~ in the environment of a service, in an env file, or after --state-dir=.
func TestTildeInAPathIsExpanded(t *testing.T) {
	t.Parallel()
	for how, put := range map[string]func(t *testing.T, home string) (env, args []string){
		"environment": func(*testing.T, string) (env, args []string) { return pathsAtHome, nil },
		"flags": func(*testing.T, string) (env, args []string) {
			for _, p := range pathsAtHome {
				name, value, _ := strings.Cut(strings.TrimPrefix(p, "FAILOVER_"), "=")
				args = append(args, "--"+strings.ToLower(strings.ReplaceAll(name, "_", "-"))+"="+value)
			}
			return nil, args
		},
		"env file": func(t *testing.T, home string) (env, args []string) {
			must(t, os.WriteFile(filepath.Join(home, "my.env"), []byte(strings.Join(pathsAtHome, "\n")), 0o600))
			return []string{"FAILOVER_ENV_FILE=~/my.env"}, nil
		},
		"env file with $HOME": func(t *testing.T, home string) (env, args []string) {
			text := strings.ReplaceAll(strings.Join(pathsAtHome, "\n"), "~", "$HOME")
			must(t, os.WriteFile(filepath.Join(home, "my.env"), []byte(strings.Replace(text, "$HOME", "${HOME}", 1)),
				0o600))
			return nil, []string{"--env-file=~/my.env"}
		},
		"XDG_STATE_HOME": func(*testing.T, string) (env, args []string) {
			return append(pathsAtHome[:2:2], "XDG_STATE_HOME=~/st"), nil
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			home, env := atHome(t)
			more, args := put(t, home)
			c := command(t, append(env, more...), append([]string{"run", "--no-methods"}, args...)...)
			c.Env[0] = "HOME=" + home
			p := start(t, c)
			p.await("-> Connected")
			p.terminate(0)
			if _, err := os.Stat(filepath.Join(home, "st")); err != nil {
				t.Errorf("%v; it says\n%s", err, &p.stderr)
			}
			if left, err := os.ReadDir(c.Dir); len(left) > 0 || err != nil {
				t.Errorf("in the working directory: %v, %v", left, err)
			}
		})
	}
}

func TestToolsExpandATilde(t *testing.T) {
	t.Parallel()
	c := command(t, nil, "states", "--output=~/states.md")
	home := strings.TrimPrefix(c.Env[0], "HOME=")
	start(t, c).wantExit(0)
	if _, err := os.Stat(filepath.Join(home, "states.md")); err != nil {
		t.Error(err)
	}
	s := newControlStub(t)
	env := s.controlFile(t)
	must(t, os.Rename(strings.TrimPrefix(env[len(env)-1], "FAILOVER_CONTROL_FILE="),
		filepath.Join(home, "control.json")))
	c = command(t, []string{"FAILOVER_CONTROL_FILE=~/control.json"}, "lizard", "list")
	c.Env[0] = "HOME=" + home
	start(t, c).wantExit(0)
}

func TestTildeWithAUserNameIsRefused(t *testing.T) {
	t.Parallel()
	const want = "~bob/st: only ~/ is expanded: write the full path, or ./~bob for a file with that name"
	wantRefused(t, append(complete[:3:3], "FAILOVER_STATE_DIR=~bob/st"), nil, "FAILOVER_STATE_DIR: "+want)
	wantRefused(t, complete, []string{"--env-file", file(t, "e", "FAILOVER_CA_FILE=~bob/st")},
		"FAILOVER_CA_FILE: "+want)
	wantRefused(t, append(complete[:3:3], "XDG_STATE_HOME=~bob/st"), nil, "XDG_STATE_HOME: "+want)
	if code, _, stderr := run(t, complete, "run", "--state-dir=~bob/st"); code != 2 ||
		!strings.Contains(stderr, "--state-dir: "+want) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	c := command(t, append(complete[:3:3], "FAILOVER_STATE_DIR=~/st"), "run")
	c.Env = c.Env[1:] // no HOME
	p := start(t, c)
	p.wantExit(2)
	if !strings.Contains(p.stderr.String(), "FAILOVER_STATE_DIR: ~/st: there is no home directory") {
		t.Errorf("without a home directory: %s", &p.stderr)
	}
}
