//go:build unix

package main

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Opening a FIFO would wait for a writer that never comes.
func TestTrainAndAdaptersRefuseFIFO(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{runName, "adapter_config.json"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(folder, name), 0o600))
	}
	program(t, "train", "--resume", folder).requireFailure(t, exitFailure, filepath.Join(folder, runName), "not a regular file")
	program(t, "classify", example("rose"), "--labels", "rose", "--adapter", folder).requireFailure(t, exitFailure, "adapter_config.json", "not a regular file")
}
