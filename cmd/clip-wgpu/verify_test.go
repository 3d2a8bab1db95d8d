package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const oracle = "../../tests/testdata/oracle"

// runVerify runs the command on cases that need no device.
func runVerify(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"verify"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// wrongCase is a case with one wrong decoded string.
func wrongCase(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"kind": "tokenizer"}`), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decode.jsonl"), []byte(`{"ids": [320], "decoded": "b "}`), 0o666))
	return dir
}

func TestVerifyExitCodes(t *testing.T) {
	good, wrong, broken := filepath.Join(oracle, "pos_embed_resize"), wrongCase(t), t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		says string // on stderr
	}{
		"all right":        {[]string{good}, exitOK, ""},
		"beyond tolerance": {[]string{good, wrong}, exitFailure, "1 of 2 cases beyond"},
		"cannot run":       {[]string{broken, good}, exitUsage, "meta.json: no such file"},
		"wrong and cannot": {[]string{broken, wrong}, exitFailure, "1 of 2 cases beyond"},
		"no case":          {nil, exitUsage, "which case"},
		"no such folder":   {[]string{"nothing-there"}, exitUsage, "nothing-there"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runVerify(t, c.args...)
			assert.Equal(t, c.code, code)
			assert.Contains(t, stderr, c.says)
			if c.says == "" {
				assert.Empty(t, stderr)
			}
		})
	}
}

// The help names the kinds that the error about another one names.
func TestVerifyHelpNamesKinds(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"kind": "dance"}`), 0o666))
	_, _, stderr := runVerify(t, dir)
	_, list, ok := strings.Cut(stderr, "want one of [")
	require.True(t, ok, stderr)
	kinds := strings.Fields(list)
	require.Greater(t, len(kinds), 10)
	for _, kind := range kinds {
		assert.Contains(t, verifyHelp, "\n  "+strings.Trim(kind, `"]`)+"  ")
	}
}

func TestVerifySaysOnceWhatCannotRun(t *testing.T) {
	code, _, stderr := runVerify(t, "nothing-there")
	outcome{code: code, stderr: stderr}.requireFailure(t, exitUsage, "nothing-there")
}

// withUnknownSchedule is pos_embed_resize with a learning-rate schedule that nobody knows.
func withUnknownSchedule(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pos_embed_resize")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(oracle, "pos_embed_resize"))))
	file := filepath.Join(dir, "lr_schedules.json")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	changed := bytes.Replace(data, []byte(`"const":`), []byte(`"polynomial":`), 1)
	require.NotEqual(t, data, changed)
	require.NoError(t, os.WriteFile(file, changed, 0o600))
	return dir
}

func TestVerifyTable(t *testing.T) {
	dir := withUnknownSchedule(t)
	_, out, _ := runVerify(t, dir)
	assert.Regexp(t, `(?m)^case +tensor +max abs error +tolerance +result`, out)
	assert.Regexp(t, `(?m)^pos_embed_resize +image\.0\.out\.7x7 +\S+ +1e-05 +ok`, out)
	assert.Regexp(t, `(?m)^pos_embed_resize +polynomial +- +- +not built`, out)
	_, out, _ = runVerify(t, "--quiet", dir)
	assert.Equal(t, "ok         pos_embed_resize: 12 ok, 0 FAIL, 1 not built\n", out)
}

func TestVerifyJSON(t *testing.T) {
	_, out, _ := runVerify(t, "--json", withUnknownSchedule(t), wrongCase(t))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 14)
	statuses := map[string]int{}
	for _, line := range lines {
		var row verifyLine
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		statuses[row.Status]++
		assert.Equal(t, row.Status == "not built", row.Tolerance == nil)
	}
	assert.Equal(t, map[string]int{"ok": 12, "not built": 1, "FAIL": 1}, statuses)
	_, out, _ = runVerify(t, "--json", "--quiet", t.TempDir())
	var s verifySummary
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	assert.Equal(t, "cannot run", s.Status)
	assert.Contains(t, s.Error, "meta.json")
}
