package gallery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu/window"
)

// hits are n hits, the best first.
func hits(n int) []Hit {
	list := make([]Hit, n)
	for i := range list {
		list[i] = Hit{int64(100 + i), fmt.Sprintf("/p/%d.jpg", i), 0.5 - float32(i)/float32(2*n)}
	}
	return list
}

// opened is a gallery on a window of a usual size that shows n hits of a query.
func opened(t *testing.T, n int) *Gallery {
	t.Helper()
	g := New(About{"GPU", "model", n})
	require.Equal(t, []Effect{Search{Query: 1}}, g.Handle(resize(1000, 720, 1)))
	g.Handle(window.Text("x"))
	g.Handle(Found{Query: 2, Hits: hits(n), Ranked: true})
	return g
}

func press(k window.Key) window.Press   { return window.Press{Key: k} }
func control(k window.Key) window.Press { return window.Press{Key: k, Control: true} }

func TestEachKeystrokeSearches(t *testing.T) {
	g := New(About{})
	var asked []string
	do := func(events ...any) {
		for _, e := range events {
			for _, effect := range g.Handle(e) {
				s := effect.(Search)
				asked = append(asked, s.Text)
				assert.Equal(t, len(asked), s.Query)
			}
		}
	}
	do(resize(800, 600, 1), window.Text("c"), window.Text("a"), window.Text("t"))
	do(resize(900, 600, 2), press(window.KeyLeft), press(window.KeyRight), press(window.KeyRight))
	do(press(window.KeyBackspace), press(window.KeyHome), press(window.KeyBackspace), press(window.KeyDelete), press(window.KeyEnd))
	do(window.Text("\x00 two\nlines\x7f"), control(window.KeyBackspace), control(window.KeyLeft), window.Text("日"), control(window.KeyDelete))
	assert.Equal(t, []string{"", "c", "ca", "cat", "ca", "a", "a two lines", "a two ", "a 日two ", "a 日 "}, asked)
	do(press(window.KeyEscape))
	assert.Empty(t, asked[len(asked)-1])
	assert.Equal(t, []Effect{Quit{}}, g.Handle(press(window.KeyEscape)))
	do(window.Text(strings.Repeat("long ", 1000)))
	assert.Len(t, asked[len(asked)-1], maxText)
	assert.Empty(t, g.Handle(window.Text("more")))
	assert.LessOrEqual(t, len(g.Title()), 120)
}

func TestNewerAnswersStay(t *testing.T) {
	g := opened(t, 5)
	for range 3 {
		g.Handle(window.Text("a"))
	}
	g.Handle(Found{Query: 4, Hits: hits(3), Ranked: true})
	assert.Len(t, g.found.Hits, 3, "newer than what was shown, though not the newest asked")
	g.Handle(Found{Query: 3, Hits: hits(1), Ranked: true})
	assert.Len(t, g.found.Hits, 3, "late")
	g.Handle(Found{Query: 5, Err: errors.New("what is +")})
	assert.Len(t, g.found.Hits, 3)
	assert.Equal(t, "what is +", g.problem)
	g.Handle(Found{Query: 4, Hits: hits(1), Ranked: true})
	assert.Equal(t, "what is +", g.problem)
	g.Handle(Found{Query: 6, Ranked: true})
	assert.Empty(t, g.found.Hits)
	assert.Empty(t, g.problem)
}

func TestKeysSelectAndAct(t *testing.T) {
	g := opened(t, 12)
	columns := g.grid().columns
	require.Equal(t, 5, columns)
	for _, c := range []struct {
		key  window.Key
		want int
	}{
		{window.KeyUp, -1}, {window.KeyDown, 0}, {window.KeyRight, 1}, {window.KeyDown, 6}, {window.KeyDown, 11}, {window.KeyDown, 11},
		{window.KeyHome, 0}, {window.KeyLeft, 0}, {window.KeyEnd, 11}, {window.KeyRight, 11}, {window.KeyLeft, 10}, {window.KeyUp, 5},
	} {
		assert.Empty(t, g.Handle(press(c.key)))
		assert.Equal(t, c.want, g.selected)
	}
	assert.Equal(t, []Effect{Open("/p/5.jpg")}, g.Handle(press(window.KeyEnter)))
	assert.Equal(t, []Effect{Reveal("/p/5.jpg")}, g.Handle(control(window.KeyEnter)))
	assert.Equal(t, []Effect{Copy("/p/5.jpg")}, g.Handle(control(window.KeyC)))
	g.Handle(press(window.KeyUp))
	g.Handle(press(window.KeyUp))
	assert.Equal(t, -1, g.selected, "back in the field")
	assert.Equal(t, []Effect{Open("/p/0.jpg")}, g.Handle(press(window.KeyEnter)), "the best one")
	g.Handle(Found{Query: 3})
	for _, p := range []window.Press{press(window.KeyEnter), control(window.KeyC), press(window.KeyDown), press(window.KeyEnd), press(window.KeyPageDown)} {
		assert.Empty(t, g.Handle(p), "nothing is there")
	}
	assert.Equal(t, -1, g.selected)
}

func TestSelectionIsInSight(t *testing.T) {
	for _, scale := range []float64{0.75, 1, 2} {
		g := opened(t, 400)
		g.Handle(resize(900, 700, scale))
		for _, k := range []window.Key{window.KeyDown, window.KeyDown, window.KeyDown, window.KeyEnd, window.KeyUp, window.KeyHome, window.KeyRight} {
			g.Handle(press(k))
			assert.True(t, g.Tile(g.selected).In(g.gridBox()), "%v: %d at %v", scale, g.selected, g.Tile(g.selected))
			first, end := g.inSight()
			assert.True(t, first <= g.selected && g.selected < end)
			g.Handle(resize(int(700*scale), int(500*scale), scale))
			assert.True(t, g.Tile(g.selected).In(g.gridBox()), "in another size")
			g.Handle(resize(900, 700, scale))
		}
	}
}

func TestScroll(t *testing.T) {
	g := opened(t, 400)
	g.Handle(window.Scroll(-3))
	assert.Zero(t, g.scroll)
	g.Handle(window.Scroll(2))
	assert.Equal(t, 2*scrollLine, g.scroll)
	g.Handle(press(window.KeyPageDown))
	assert.Equal(t, 2*scrollLine+g.gridBox().Dy()-scrollLine, g.scroll)
	g.Handle(window.Scroll(1e9))
	_, end := g.inSight()
	assert.Equal(t, 400, end)
	assert.True(t, g.cell(399).In(g.gridBox()))
	g.Handle(resize(3000, 700, 1))
	assert.True(t, g.cell(399).In(g.gridBox()), "no empty space below")
	g.Handle(window.Text("y"))
	g.Handle(Found{Query: 3, Hits: hits(400), Ranked: true})
	assert.Zero(t, g.scroll, "what fits best is on top")
}

func TestClicks(t *testing.T) {
	g := opened(t, 12)
	middle := g.Tile(7).Min.Add(g.Tile(7).Size().Div(2))
	assert.Empty(t, g.Handle(window.Click{At: middle}))
	assert.Equal(t, 7, g.selected)
	assert.Equal(t, []Effect{Open("/p/7.jpg")}, g.Handle(window.Click{At: middle, Double: true}))
	g.Handle(window.Click{At: g.footBox().Min})
	assert.Equal(t, -1, g.selected)
	g.Handle(window.Text(" some words"))
	g.Handle(Found{Query: 3, Hits: hits(12), Ranked: true})
	box := g.textBox()
	box.Min.X += g.font(fieldText, false).Width("x some") + 1
	g.Handle(window.Click{At: box.Min.Add(g.fieldBox().Size().Div(2)).Sub(g.fieldBox().Size().Div(2))})
	assert.Equal(t, len("x some"), g.field.caret)
	g.Handle(window.Click{At: g.fieldBox().Max.Sub(g.fieldBox().Size().Div(20))})
	assert.Equal(t, len("x some words"), g.field.caret)
}

func TestDrops(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "a.jpg")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	g := opened(t, 12)
	assert.Equal(t, []Effect{Index(folder), Search{Query: 3, Picture: file}}, g.Handle(window.Drop{folder, file, file}))
	assert.Equal(t, "like a.jpg  - clip-wgpu", g.Title())
	assert.Equal(t, []Effect{Search{4, "red", file}}, g.Handle(window.Text("red")), "words beside it")
	g.Handle(press(window.KeyHome))
	assert.Equal(t, []Effect{Search{5, "red", ""}}, g.Handle(press(window.KeyBackspace)))
	assert.Empty(t, g.Handle(window.Drop{filepath.Join(folder, "gone")}))
	assert.Contains(t, g.Problem(), "gone")
	g.Handle(window.Drop{filepath.Join(folder, "gone"), file})
	g.Handle(Found{Query: 6})
	assert.Contains(t, g.Problem(), "gone", "the other file is found")
}

func TestProgress(t *testing.T) {
	g := opened(t, 3)
	assert.Empty(t, g.Handle(Progress{Folder: "/my/Holiday", Done: 20, Total: 1020, Rate: 10}))
	assert.Equal(t, "Indexing Holiday: 20 of 1,020  ·  10/s  ·  1m40s left", g.progressText())
	assert.Equal(t, []Effect{Search{3, "x", ""}}, g.Handle(Progress{Finished: true, Pictures: 1023}), "looks for the new ones")
	assert.Contains(t, g.aboutText(), "1,023 pictures")
	g.Handle(Progress{Finished: true, Err: errors.New("no room")})
	assert.Contains(t, g.aboutText(), "1,023 pictures")
	g.Handle(Found{Query: 4})
	assert.Equal(t, "no room", g.Problem(), "also once the pictures are shown")
	g.Handle(window.Text("z"))
	assert.Empty(t, g.Problem())
}

func TestTimesAreOfWhatIsShown(t *testing.T) {
	g := opened(t, 3)
	g.Handle(window.Text("y"))
	g.Handle(Found{Query: 3, Ranked: true, Encode: 12345 * time.Microsecond, Search: 1234 * time.Microsecond})
	assert.Equal(t, "encode 12 ms  ·  search 1.2 ms", g.timesText())
	g.Handle(Found{Query: 4})
	assert.Empty(t, g.timesText())
}
