//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process is the program as a process of its own.
func process(t *testing.T, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd, stderr = exec.Command(self, args...), &bytes.Buffer{}
	cmd.Stderr = stderr
	cmd.Env = append(os.Environ(), "CLIP_WGPU_TEST_PROGRAM=1")
	t.Cleanup(func() {
		if cmd.Process != nil {
			cmd.Process.Kill() // an error means that it has ended
		}
	})
	return cmd, stderr
}

// manyImages is a list of far more images than a test waits for.
func manyImages() []string { return slices.Repeat([]string{example("pizza"), example("rose")}, 20000) }

// waitForRows returns when rows have reached a file of that pattern.
func waitForRows(t *testing.T, pattern string) {
	t.Helper()
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(pattern)
		return slices.ContainsFunc(files, func(f string) bool {
			info, err := os.Stat(f)
			return err == nil && info.Size() > 0
		})
	}, time.Minute, 10*time.Millisecond)
}

func TestInterruptKeepsFinishedRows(t *testing.T) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // the program inherits what ran the tests, such as nohup
		signals = append(signals, syscall.SIGHUP)
	}
	for _, sig := range signals {
		folder := t.TempDir()
		path := filepath.Join(folder, "x.npy")
		cmd, stderr := process(t, "embed", "-", "-o", path)
		cmd.Stdin = strings.NewReader(strings.Join(manyImages(), "\n"))
		require.NoError(t, cmd.Start())
		waitForRows(t, path+".*.tmp")
		start := time.Now()
		require.NoError(t, cmd.Process.Signal(sig))
		require.Error(t, cmd.Wait())
		assert.Less(t, time.Since(start), 2*time.Second)
		assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), stderr)
		assert.Regexp(t, `^clip-wgpu: interrupted: \d+ of 40000 rows are in \S+\n$`, stderr.String())
		requireFiles(t, folder, "x.npy", "x.npy.ids.jsonl")
		assert.NotEmpty(t, readNPY(t, path).rows)
	}
}

func TestInterruptWithoutRowsLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	for _, args := range [][]string{{"-o", filepath.Join(folder, "x.npy")}, {"-o", "-", "--format", "safetensors"}} {
		cmd, stderr := process(t, append([]string{"embed", "-"}, args...)...)
		cmd.Env = append(cmd.Env, "TMPDIR="+folder) // where rows for stdout wait
		stdin, err := cmd.StdinPipe()               // never closed: the program waits for paths
		require.NoError(t, err)
		defer stdin.Close()
		require.NoError(t, cmd.Start())
		time.Sleep(300 * time.Millisecond)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.Error(t, cmd.Wait())
		assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
		assert.Equal(t, "clip-wgpu: interrupted\n", stderr.String())
		requireFiles(t, folder)
	}
}

func TestClosedStdoutIsQuiet(t *testing.T) {
	args := append([]string{"classify", "--labels", "pizza,rose", "--json"}, manyImages()[:2000]...)
	cmd, stderr := process(t, args...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "pizza")
	require.NoError(t, stdout.Close())
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitClosedPipe, cmd.ProcessState.ExitCode())
	assert.Empty(t, stderr.String())
}

func TestSilentWithoutRuntimeFolder(t *testing.T) {
	cmd, stderr := process(t, "classify", example("pizza"), "--labels", "pizza,rose")
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "XDG_RUNTIME_DIR=") })
	require.NoError(t, cmd.Run(), stderr)
	assert.Empty(t, stderr.String())
}

// A cache that cannot be used, here below a file, costs time and nothing else.
func TestWithoutCacheFolder(t *testing.T) {
	cache := "XDG_CACHE_HOME=" + example("pizza")
	cmd, stderr := process(t, "classify", example("pizza"), "--labels", "pizza,rose")
	cmd.Env = append(cmd.Env, cache)
	require.NoError(t, cmd.Run(), stderr)

	cmd, stderr = process(t, "tune")
	cmd.Env = append(cmd.Env, cache)
	require.Error(t, cmd.Run())
	assert.Equal(t, exitFailure, cmd.ProcessState.ExitCode())
	assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr)
	assert.Contains(t, stderr.String(), "--dry-run")
}

func TestWithoutDriver(t *testing.T) {
	cmd, stderr := process(t, "classify", example("pizza"), "--labels", "pizza,rose")
	cmd.Env = append(cmd.Env, "VK_ICD_FILENAMES=/nonexistent", "VK_DRIVER_FILES=/nonexistent")
	require.Error(t, cmd.Run())
	assert.Equal(t, exitFailure, cmd.ProcessState.ExitCode())
	assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr)
	assert.Contains(t, stderr.String(), "driver")
}

// What computes nothing runs where there is no driver.
func TestCommandsThatNeedNoDriver(t *testing.T) {
	out := filepath.Join(t.TempDir(), "model")
	for want, args := range map[string][]string{
		`"apple "`:       {"tokenize", "a red apple"},
		"ViT-B-32":       {"models", "--runs"},
		"":               {"convert", "emoji-clip", "-o", out},
		"visual.ln_post": {"program", "emoji-clip", "--limits", "default"},
		"linear":         {"program", "ViT-B-32", "--limits", "default", "--tower", "text", "--json"},
	} {
		cmd, stderr := process(t, args...)
		cmd.Env = append(cmd.Env, "VK_ICD_FILENAMES=/nonexistent", "VK_DRIVER_FILES=/nonexistent")
		out, err := cmd.Output()
		require.NoError(t, err, "%v: %s", args, stderr)
		assert.Contains(t, string(out), want)
		assert.Empty(t, stderr.String())
	}
	assert.FileExists(t, filepath.Join(out, "open_clip_model.safetensors"))
}

// The limits that devices --json writes are as good as the device.
func TestProgramWithTheLimitsOfADevice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "devices.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(program(t, "devices", "--json").stdout), 0o666))
	for _, tower := range towerNames {
		want := program(t, "program", "emoji-clip", "--tower", tower, "--weights", "q8")
		got := program(t, "program", "emoji-clip", "--tower", tower, "--weights", "q8", "--limits", file)
		require.NotEmpty(t, want.stdout)
		assert.Equal(t, want.stdout, got.stdout, got.stderr)
	}
	program(t, "program", "emoji-clip", "--limits", file, "--device", "7").requireFailure(t, exitFailure, file, "no adapter 7")
	program(t, "program", "emoji-clip", "--limits", file+"x").requireFailure(t, exitFailure, "--limits", file+"x")
	for text, says := range map[string]string{
		`{"index": 0}`:                   "max_buffer_bytes is 0",
		`{"max_bufer_bytes": 268435456}`: `unknown key "max_bufer_bytes"`,
		`{"max_workgroups": "many"}`:     `max_workgroups is "\"many\"", want a whole number`,
		"[1]":                            "want a JSON object",
		"no JSON":                        "devices --json",
		"":                               "holds no device",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
		program(t, "program", "emoji-clip", "--limits", file).requireFailure(t, exitFailure, file, says)
	}
}

func TestEmbedToClosedStdoutIsQuiet(t *testing.T) {
	for _, format := range []string{"jsonl", "csv", "tsv"} {
		cmd, stderr := process(t, "embed", "-", "-o", "-", "--format", format)
		cmd.Stdin = strings.NewReader(strings.Join(manyImages()[:2000], "\n"))
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(stdout).ReadString('\n')
		require.NoError(t, err)
		assert.NotEmpty(t, line)
		require.NoError(t, stdout.Close())
		require.Error(t, cmd.Wait())
		assert.Equal(t, exitClosedPipe, cmd.ProcessState.ExitCode(), format)
		assert.Empty(t, stderr.String())
	}
}

// A reader of stdout that does not read keeps nobody from interrupting.
func TestInterruptWhileStdoutIsFull(t *testing.T) {
	for _, args := range [][]string{{"embed", "-", "-o", "-"}, {"classify", "-", "--labels", "a,b"},
		{"embed", "--text", "a", "-o", "-", "--format", "npy"}, {"tokenize", "a"}, {"models", "--json"}} {
		cmd, stderr := process(t, args...)
		folder := t.TempDir()
		cmd.Env = append(cmd.Env, "TMPDIR="+folder)
		cmd.Stdin = strings.NewReader(strings.Join(manyImages(), "\n"))
		read, write, err := os.Pipe()
		require.NoError(t, err)
		for filled, more := 0, 1; filled == 0 || more > 0; filled += more { // a busy machine may take no byte in time
			require.NoError(t, write.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
			more, err = write.Write(make([]byte, 1<<22))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		cmd.Stdout = write
		require.NoError(t, cmd.Start())
		if slices.Contains(args, "npy") { // interrupted before, it would write its rows and wait for the reader
			waitForRows(t, filepath.Join(folder, "*", "rows"))
		}
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.Error(t, cmd.Wait())
		assert.Less(t, time.Since(start), 2*time.Second)
		assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
		assert.Equal(t, "clip-wgpu: interrupted\n", stderr.String())
		require.NoError(t, write.Close())
		require.NoError(t, read.Close())
	}
}

// Formats that wait for the last row give stdout what is finished by an interrupt.
func TestInterruptKeepsRowsForStdout(t *testing.T) {
	folder := t.TempDir()
	cmd, stderr := process(t, "embed", "-", "-o", "-", "--format", "npy")
	cmd.Env = append(cmd.Env, "TMPDIR="+folder)
	cmd.Stdin = strings.NewReader(strings.Join(manyImages(), "\n"))
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	require.NoError(t, cmd.Start())
	waitForRows(t, filepath.Join(folder, "*", "rows.*.tmp"))
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), stderr)
	rows := regexp.MustCompile(`^clip-wgpu: interrupted: (\d+) of 40000 rows are in stdout\n$`).FindStringSubmatch(stderr.String())
	require.NotNil(t, rows, stderr)
	n, err := strconv.Atoi(rows[1])
	require.NoError(t, err)
	assert.Contains(t, stdout.String(), "'shape': ("+rows[1]+", 128)")
	assert.Equal(t, npyHeaderBytes+4*128*n, stdout.Len())
	requireFiles(t, folder)
}

// A training that is killed, wherever it is, or interrupted, goes on as if it had not been.
func TestKilledTrainings(t *testing.T) {
	csv, folder := captionTable(t), t.TempDir()
	flags := quickly(csv, "--steps", "12", "--save-every", "3", "--quiet", "--json", "-o")
	whole, parts := filepath.Join(folder, "whole"), filepath.Join(folder, "parts")
	program(t, append(flags, whole)...).requireDone(t)
	args := append(slices.Clone(flags), parts)
	for i, sig := range []os.Signal{syscall.SIGKILL, os.Interrupt, syscall.SIGKILL} {
		cmd, stderr := process(t, args...)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 4 - i { // then it computes, or saves
			require.True(t, lines.Scan(), stderr)
		}
		time.Sleep(time.Duration(30*i) * time.Millisecond)
		require.NoError(t, cmd.Process.Signal(sig))
		for lines.Scan() { // until it has ended
		}
		require.Error(t, cmd.Wait())
		if sig == os.Interrupt {
			assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
			assert.Regexp(t, `^clip-wgpu: interrupted: \d+ of 12 steps are saved; --resume `, stderr.String())
		}
		args = []string{"train", "--quiet", "--json", "--resume", parts}
	}
	program(t, args...).requireDone(t)
	assert.Equal(t, losses(t, whole), losses(t, parts))
	requireFiles(t, parts, "log.jsonl", "loss.svg", "model", "run.json", "run.lock", "state-00000012.safetensors")
}
