package debug

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGet(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]Switch{
		"":                                  {},
		"trace=1":                           {Trace: true},
		"check=nan":                         {CheckNaN: true},
		"check=ops,trace=1":                 {CheckOps: true, Trace: true},
		"plan=off,tune=off":                 {NoPlan: true, NoTune: true},
		"kernels=gpu":                       {GPU: true},
		"dump=visual.conv1":                 {Dump: "visual.conv1"},
		"wgsl=" + dir + ",dump=a=b,trace=1": {WGSL: dir, Dump: "a=b", Trace: true},
	} {
		t.Setenv(Variable, text)
		got, err := Get()
		require.NoError(t, err, text)
		assert.Equal(t, want, got)
		assert.Equal(t, want.CheckNaN || want.CheckOps || want.Dump != "", got.Watches())
	}
}

func TestGetRefuses(t *testing.T) {
	for text, parts := range map[string][]string{
		"tracing=1":           {`unknown "tracing=1"`, "there are trace=1, check=nan, check=ops, dump=SCOPE, plan=off, tune=off, kernels=gpu, wgsl=DIR"},
		"trace":               {`unknown "trace"`, "trace=1"},
		"trace=1,":            {`unknown ""`},
		" trace=1":            {`unknown " trace=1"`},
		"trace=2":             {`trace has no value "2"`, "trace=1"},
		"check=all":           {`check has no value "all"`, "check=nan, check=ops"},
		"plan=on":             {`plan has no value "on"`},
		"kernels=cpu":         {`kernels has no value "cpu"`},
		"tune=":               {`tune has no value ""`},
		"dump=":               {`dump has no value ""`},
		"check=nan,check=ops": {"check is there twice"},
		"wgsl=/no/such":       {"wgsl=/no/such: no such folder"},
		"wgsl=":               {`wgsl has no value ""`},
	} {
		t.Setenv(Variable, text)
		got, err := Get()
		require.Error(t, err, text)
		assert.Zero(t, got)
		for _, part := range append(parts, Variable+": ") {
			assert.ErrorContains(t, err, part)
		}
		assert.NotContains(t, err.Error(), "\n")
	}
}
