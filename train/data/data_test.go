package data

import (
	"archive/tar"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// picture is a PNG of one colour.
func picture(t testing.TB, level int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 12, 9))
	for i := range 12 * 9 {
		img.Set(i%12, i/12, color.RGBA{uint8(level), uint8(level), uint8(level), 255})
	}
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

// write makes files in a folder of the test's: names and contents in turn.
func write(t testing.TB, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return folder
}

// all lists a dataset's samples: file and captions.
func all(t *testing.T, folder string, d *Dataset) (samples []string) {
	t.Helper()
	for i := range d.Len() {
		captions, err := d.Captions(i)
		require.NoError(t, err)
		name, err := filepath.Rel(folder, d.Name(i))
		require.NoError(t, err)
		samples = append(samples, fmt.Sprintf("%s %q", filepath.ToSlash(name), captions))
	}
	return samples
}

func TestTables(t *testing.T) {
	folder := write(t, map[string]string{
		"tab.csv":       "filepath\ttitle\r\na.png\tthe \"first\" one\r\nsub/b.png\ta; b, c\r\n",
		"comma.csv":     "\ufeffid,image,caption\n1,a.png,\"two\nlines\"\n\n2,/abs/b.png,\"say \"\"x\"\"\"\n",
		"several.tsv":   "path\tcaption\tlicence\ttext\na.png\tone\tfree\ttwo\nb.png\t\tfree\tthree\n",
		"lines.jsonl":   "{\"file_name\": \"a.png\", \"text\": \"one\"}\n\n{\"image\": \"b.png\", \"captions\": [\"two\", \" \", \"three\"], \"n\": 5}\n",
		"utf16.csv":     "\xff\xfei\x00m\x00a\x00g\x00e\x00,\x00t\x00e\x00x\x00t\x00\n\x00a\x00,\x00\xfc\x00\n\x00",
		"own.tsv":       "url\tfilepath\tname\nx\ta.png\tmine\n",
		"semicolon.csv": "filepath;title\na.png;b, c\n",
		"quotes.tsv":    "filepath\ttitle\na.png\t\"Hello\" he said\nb.png\ta 5\" pipe\nc.png\tbar \"x\"\n\"d\"\"\tx.png\"\t\"\"\"last\"\"\"\n",
		"quotes.csv":    "filepath,title\na\"b.png,\"x\"y\n",
	})
	for name, want := range map[string][]string{
		"tab.csv":       {`a.png ["the \"first\" one"]`, `sub/b.png ["a; b, c"]`},
		"several.tsv":   {`a.png ["one" "two"]`, `b.png ["three"]`},
		"lines.jsonl":   {`a.png ["one"]`, `b.png ["two" "three"]`},
		"utf16.csv":     {`a ["ü"]`},
		"semicolon.csv": {`a.png ["b, c"]`},
		"quotes.tsv":    {`a.png ["Hello he said"]`, `b.png ["a 5\" pipe"]`, `c.png ["bar \"x\""]`, "d\"\tx.png [\"\\\"last\\\"\"]"},
		"quotes.csv":    {`a"b.png ["xy"]`},
	} {
		d, err := Open([]string{filepath.Join(folder, name)}, Options{})
		require.NoError(t, err, name)
		assert.Empty(t, d.Bad, name)
		assert.Equal(t, want, all(t, folder, d), name)
		assert.Equal(t, -1, d.Class(0))
	}
	d, err := Open([]string{filepath.Join(folder, "comma.csv")}, Options{Root: "/root"})
	require.NoError(t, err)
	assert.Equal(t, []string{`root/a.png ["two\nlines"]`, `abs/b.png ["say \"x\""]`}, all(t, "/", d))

	_, err = Open([]string{filepath.Join(folder, "own.tsv")}, Options{})
	require.ErrorIs(t, err, ErrData)
	assert.ErrorContains(t, err, `none of which is a caption`)
	d, err = Open([]string{filepath.Join(folder, "own.tsv")}, Options{ImageKeys: []string{"url"}, CaptionKeys: []string{"name"}})
	require.NoError(t, err)
	assert.Equal(t, []string{`x ["mine"]`}, all(t, folder, d))
}

// What is broken is listed with its place, and the rest is taken.
func TestBrokenLines(t *testing.T) {
	folder := write(t, map[string]string{
		"a.csv":   "filepath,title\na.png,one\nb.png\nc.png,\xff\xfe\n,no picture\nd.png,  \nf.png,last\n",
		"a.jsonl": "{\"image\": \"a.png\", \"text\": \"one\"}\n{\"image\": \n[1]\n{\"image\": 5, \"text\": \"x\"}\n{\"image\": \"b.png\"}\n{\"image\": \"c.png\", \"text\": \"\xff\"}\n",
	})
	for name, want := range map[string][]string{
		"a.csv":   {"a.csv:3: 1 columns", "a.csv:4: neither UTF-8", "a.csv:5: no path", "a.csv:6: no caption"},
		"a.jsonl": {"a.jsonl:2: ", "a.jsonl:3: json", "a.jsonl:4: no path", "a.jsonl:5: no caption", "a.jsonl:6: neither UTF-8"},
	} {
		d, err := Open([]string{filepath.Join(folder, name)}, Options{})
		require.NoError(t, err)
		assert.Contains(t, all(t, folder, d), `a.png ["one"]`)
		require.Len(t, d.Bad, len(want), name)
		for i := range want {
			assert.ErrorContains(t, d.Bad[i], want[i])
		}
	}
}

// archive is a tar: names and contents in turn.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(files[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestArchives(t *testing.T) {
	long := "very/" + string(bytes.Repeat([]byte("long"), 60)) + "/00"
	whole := archive(t,
		"00.png", string(picture(t, 10)), "00.txt", " first \n", "00.json", `{"caption": "not this"}`,
		"01.v2.JPG", "x", // its suffix is v2.jpg
		long+".png", string(picture(t, 30)), long+".json", `{"caption": "from a field", "text": ["and", "others"]}`,
		"03.txt", "no picture",
		"04.png", string(picture(t, 40)),
		"04.txt", "fourth", "04.png", string(picture(t, 50)), "04.txt", "again",
		"05.png", string(picture(t, 60)), "05.txt", " ",
	)
	folder := write(t, map[string]string{"a-00.tar": string(whole), "a-01.tar": string(whole[:len(whole)-2500]), "not.tar": "this is no archive, but a text of more than some bytes"})
	d, err := Open([]string{filepath.Join(folder, "a-00.tar")}, Options{})
	require.NoError(t, err)
	require.Equal(t, 5, d.Len())
	assert.Equal(t, filepath.Join(folder, "a-00.tar")+":00.png", d.Name(0))
	for i, want := range [][]string{{"first"}, {"from a field", "and", "others"}, {"fourth"}, {"again"}} {
		captions, err := d.Captions(i)
		require.NoError(t, err)
		assert.Equal(t, want, captions)
		var decoder preprocess.Decoder
		img, err := d.Picture(i)(&decoder)
		require.NoError(t, err)
		assert.Equal(t, uint8([]int{10, 30, 40, 50}[i]), img.RGB()[0])
	}
	_, err = d.Captions(4)
	require.ErrorContains(t, err, "05.txt has no caption")
	require.Len(t, d.Bad, 2)
	assert.ErrorContains(t, d.Bad[0], "01: no picture")
	assert.ErrorContains(t, d.Bad[1], "03: no picture")

	both, err := Open([]string{filepath.Join(folder, "a-{00..01}.tar")}, Options{})
	require.NoError(t, err)
	assert.Greater(t, both.Len(), d.Len(), "what lies before the cut is there")
	require.Len(t, both.Bad, 6)
	assert.ErrorContains(t, both.Bad[4], "a-01.tar:05: no caption")
	assert.ErrorContains(t, both.Bad[5], "unexpected EOF")
	_, err = Open([]string{filepath.Join(folder, "not.tar")}, Options{})
	require.ErrorIs(t, err, ErrData)
}

func TestClasses(t *testing.T) {
	x := string(picture(t, 1))
	folder := write(t, map[string]string{
		"a/golden_retriever/2.png": x, "a/golden_retriever/sub/1.png": x, "a/cat/1.jpg": x, "a/cat/readme.txt": "", "a/.hidden/1.png": x, "a/@eaDir/1.png": x, "a/thumbs/1.png": x, "a/file.png": x,
		"b/cat/9.png": x, "b/dog/1.png": x,
		"one/cat/1.png":   x,
		"empty/cat/1.png": x, "empty/dog/1.txt": "",
	})
	at := func(names ...string) (paths []string) {
		for _, n := range names {
			paths = append(paths, filepath.Join(folder, n))
		}
		return paths
	}
	d, err := Open(at("a", "b"), Options{Templates: []string{"a {}.", "{} or {}"}, ExcludeDirs: []string{"thumb*"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "golden retriever", "dog"}, d.Classes)
	assert.Equal(t, []string{
		`a/cat/1.jpg ["a cat." "cat or cat"]`,
		`a/golden_retriever/2.png ["a golden retriever." "golden retriever or golden retriever"]`,
		`a/golden_retriever/sub/1.png ["a golden retriever." "golden retriever or golden retriever"]`,
		`b/cat/9.png ["a cat." "cat or cat"]`, `b/dog/1.png ["a dog." "dog or dog"]`,
	}, all(t, folder, d))
	assert.Equal(t, []int{0, 1, 1, 0, 2}, []int{d.Class(0), d.Class(1), d.Class(2), d.Class(3), d.Class(4)})
	for name, want := range map[string]string{"one": "has 1 folders", "empty": `class "dog"`, "a/cat": "has 0 folders"} {
		_, err := Open(at(name), Options{})
		require.ErrorIs(t, err, ErrData)
		assert.ErrorContains(t, err, want)
	}
	_, err = Open(at("a"), Options{Templates: []string{"a photo"}})
	assert.ErrorContains(t, err, `template "a photo"`)
}

func TestSources(t *testing.T) {
	folder := write(t, map[string]string{"x.pdf": "", "empty.csv": "", "empty.jsonl": "", "only.csv": "filepath,title\n", "open.csv": "filepath,title\na,b\nc,\"d\ne,f\n", "{a,b}.csv": "filepath,title\na,b\n"})
	for name, want := range map[string]string{
		"x.pdf": "want a folder", "empty.csv": "is empty", "empty.jsonl": "has no sample", "only.csv": "has no sample", "none.csv": "none.csv", "open.csv": "line 3 are not closed",
		"no*.tar": "no file is named", "{5..2}.tar": "{5..2}", "{0..9999999}.tar": "at most",
	} {
		_, err := Open([]string{filepath.Join(folder, name)}, Options{})
		require.Error(t, err, name)
		assert.ErrorContains(t, err, want)
	}
	d, err := Open([]string{filepath.Join(folder, "{a,b}.csv")}, Options{})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Len())
	paths, err := expand("/no/{a,b}-{08..11}.tar::c.tar")
	require.NoError(t, err)
	assert.Equal(t, []string{"/no/a-08.tar", "/no/a-09.tar", "/no/a-10.tar", "/no/a-11.tar", "/no/b-08.tar", "/no/b-09.tar", "/no/b-10.tar", "/no/b-11.tar", "c.tar"}, paths)
}
