package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var made = time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)

// packed packs entries in both orders.
func packed(t *testing.T, name string, entries []entry) []byte {
	t.Helper()
	one, err := pack(name, "folder", entries, made)
	require.NoError(t, err)
	slices.Reverse(entries)
	other, err := pack(name, "folder", entries, made.In(time.FixedZone("elsewhere", 5*3600)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(one, other), "the same bytes")
	return one
}

func some() []entry {
	return []entry{{"a/text", 0o644, []byte("some text")}, {"program", 0o755, []byte("\x7fELF")}, {"a.txt", 0o644, nil}}
}

var sorted = []string{"folder/a.txt", "folder/a/text", "folder/program"}

func TestTar(t *testing.T) {
	compressed, err := gzip.NewReader(bytes.NewReader(packed(t, "x.tar.gz", some())))
	require.NoError(t, err)
	var names []string
	for r := tar.NewReader(compressed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		names = append(names, h.Name)
		assert.Equal(t, h.Name == "folder/program", h.FileInfo().Mode()&0o111 != 0)
		assert.Equal(t, []any{0, 0, "root", "root", true}, []any{h.Uid, h.Gid, h.Uname, h.Gname, made.Equal(h.ModTime)})
	}
	assert.Equal(t, sorted, names)
}

func TestZip(t *testing.T) {
	data := packed(t, "x.zip", some())
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
		assert.Equal(t, f.Name == "folder/program", f.Mode()&0o111 != 0)
		assert.True(t, made.Equal(f.Modified))
	}
	assert.Equal(t, sorted, names)
}

func TestManual(t *testing.T) {
	help := "Does it.\n\nAvailable Commands:\n  one   First\n  two   Second\n\nFlags:\n"
	names := commands(help)
	require.Equal(t, []string{"one", "two"}, names)
	page := manual(names, []string{help, ".dots… at 'x\\y'\n\nGlobal Flags:\n  --all\n", "--flag"}, "1.2", made)
	assert.Contains(t, page, ".TH CLIP-WGPU 1 2024-02-29 \"clip-wgpu 1.2\"\n")
	assert.Contains(t, page, ".SH CLIP-WGPU ONE\n.nf\n\\&.dots\\[u2026] at \\(aqx\\ey\\(aq\n.fi\n")
	assert.Contains(t, page, ".SH CLIP-WGPU TWO\n.nf\n\\-\\-flag\n.fi\n")
	assert.NotContains(t, page, "all", "flags of all commands are told once")
}

// What the program links on any system is in NOTICE.
func TestNoticeNamesEveryModule(t *testing.T) {
	notice, err := os.ReadFile("../../NOTICE")
	require.NoError(t, err)
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-tags", "glfw", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "../../cmd/clip-wgpu")
		list.Env = append(list.Environ(), "GOOS="+system, "CGO_ENABLED=1")
		out, err := list.Output()
		require.NoError(t, err)
		modules := strings.Fields(string(out))
		assert.Contains(t, modules, "github.com/spf13/cobra")
		for _, module := range slices.Compact(modules) {
			if module != "github.com/clip-wgpu/clip-wgpu" {
				assert.Contains(t, string(notice), module, "on %s", system)
			}
		}
	}
}

func TestLegalTexts(t *testing.T) {
	dir := t.TempDir()
	_, err := legalTexts(dir, "x")
	require.ErrorContains(t, err, dir)
	for _, name := range []string{"LICENSE.txt", "other.txt"} {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(name), 0o600))
	}
	texts, err := legalTexts(dir, "x")
	require.NoError(t, err)
	assert.Equal(t, []entry{{"licenses/x/LICENSE.txt", 0o644, []byte("LICENSE.txt")}}, texts)
}
