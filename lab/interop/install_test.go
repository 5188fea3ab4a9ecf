package interop_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// An sdk is Microsoft's SDK, installed from package-lock.json, and the node to run it.
type sdk struct{ node, modules string }

// installed returns the SDK, or the reason why there is none.
var installed = sync.OnceValues(func() (sdk, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return sdk{}, unavailable(err.Error())
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return sdk{}, unavailable(err.Error())
	}
	modules, err := installOnce(npm)
	return sdk{node, modules}, err
})

// unavailable is a reason to skip the tests.
type unavailable string

func (u unavailable) Error() string { return string(u) }

// install returns the SDK. It skips the test if there is no node, no npm or no registry.
func install(t *testing.T) sdk {
	t.Helper()
	s, err := installed()
	var reason unavailable
	if errors.As(err, &reason) {
		t.Skip("this needs node, npm and npm's registry: ", reason)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSDKIsInstalled(t *testing.T) {
	s := install(t)
	for name, want := range versions(t, "package.json").Dependencies {
		if got := versions(t, filepath.Join(s.modules, name, "package.json")).Version; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

type packageFile struct {
	Version      string
	Dependencies map[string]string
}

func versions(t *testing.T, file string) (p packageFile) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// installOnce installs the packages into a folder of the user's cache that is named after the lock
// file, unless it is there.
func installOnce(npm string) (modules string, err error) {
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "failover-interop")
	final := filepath.Join(cache, fmt.Sprintf("%x", sha256.Sum256(lock))[:16])
	modules = filepath.Join(final, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	if err := ci(npm, dir); err != nil {
		return "", err
	}
	if err := os.Rename(dir, final); err != nil {
		if _, there := os.Stat(modules); there == nil { // another process was faster
			return modules, nil
		}
		return "", err
	}
	return modules, nil
}

// unreachable matches npm's errors about a registry that it cannot or may not reach.
var unreachable = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|` +
	`EHOSTUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED|E403|E407|E50\d`)

// ci runs npm ci. It asks the registry once before that, because npm ci retries for two minutes. It
// runs no scripts of packages; none needs one.
func ci(npm, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"view", "azure-iot-device", "version", "--fetch-retries=1", "--fetch-retry-mintimeout=1000",
			"--fetch-timeout=20000"},
		{"ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=1000",
			"--fetch-retry-maxtimeout=5000"},
	} {
		command := exec.CommandContext(ctx, npm, args...)
		command.Dir = dir
		command.WaitDelay = time.Second
		out, err := command.CombinedOutput()
		switch {
		case err == nil:
		case unreachable.Match(out):
			return unavailable(fmt.Sprintf("npm cannot reach its registry: %s", unreachable.Find(out)))
		case ctx.Err() != nil:
			return unavailable("npm takes more than four minutes")
		default:
			return fmt.Errorf("npm %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
