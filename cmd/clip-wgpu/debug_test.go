package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

func TestDebugSwitchIsReadFirst(t *testing.T) {
	for value, name := range map[string]string{"tracing=1": `unknown "tracing=1"`, "check=all": `check has no value "all"`} {
		t.Setenv(debug.Variable, value)
		for _, args := range [][]string{{"version"}, {"classify", "nothing"}, {}} {
			program(t, args...).requireFailure(t, exitUsage, "CLIPWGPU: "+name, "trace=1, check=nan, check=ops, dump=SCOPE, plan=off, tune=off, wgsl=DIR")
		}
	}
}

// A kernel that is edited and wrong is found in a tower, by the scope that it spoils first.
func TestDebugSwitchFindsAWrongKernel(t *testing.T) {
	text, err := os.ReadFile("../../shaders/layernorm.wgsl")
	require.NoError(t, err)
	dir := t.TempDir()
	classify := []string{"classify", example("pizza"), "--labels", "pizza,cat"}
	t.Setenv(debug.Variable, "check=ops")
	right := program(t, classify...)
	assert.Equal(t, exitOK, right.code, right.stderr)
	wrong := strings.Replace(string(text), "- center) * scale", "- center) * scale * 1.01", 1)
	require.NotEqual(t, string(text), wrong)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "layernorm.wgsl"), []byte(wrong), 0o666))
	t.Setenv(debug.Variable, "check=ops,wgsl="+dir)
	program(t, classify...).requireFailure(t, exitFailure, "resblocks.0.ln_1.layernorm", "of output 0", "by the op's reference")
}
