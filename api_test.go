package awsoidc_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the exported symbols to testdata/api.txt")

// TestAPI compares the exported symbols of all public packages with
// testdata/api.txt, one on a line, so that a review sees what changes.
func TestAPI(t *testing.T) {
	var lines []string
	for _, p := range publicPackages(t) {
		for _, s := range symbolsOf(p) {
			lines = append(lines, p.ImportPath+": "+s.text+"\n")
		}
	}
	const golden = "testdata/api.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := slices.Collect(strings.Lines(readFile(t, golden)))
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("gone:  %s", line)
		}
	}
	for _, line := range lines {
		if !slices.Contains(want, line) {
			t.Errorf("added: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("if this is meant, run: go test -run '^TestAPI$' . -update, and commit %s with it", golden)
	}
}

// TestDocstrings finds exported symbols without a docstring.
func TestDocstrings(t *testing.T) {
	for _, p := range publicPackages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no documentation", p.ImportPath)
		}
		for _, s := range symbolsOf(p) {
			if s.doc == "" {
				t.Errorf("%s: %s has no docstring", p.ImportPath, s.text)
			}
		}
	}
}

// TestTypesHaveExamples finds exported types that no runnable example with
// output is about: one of the type, of what takes or returns it, or one that
// names it or a constant of it.
func TestTypesHaveExamples(t *testing.T) {
	for _, p := range publicPackages(t) {
		if p.Name == "cachetest" {
			continue // it takes a *testing.T, which no example has
		}
		shown := map[string]bool{}
		note := func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if name, ok := n.(*ast.Ident); ok {
					shown[name.Name] = true
				}
				return true
			})
		}
		of := func(n ast.Node, examples []*doc.Example) {
			for _, e := range examples {
				if e.Output != "" || e.EmptyOutput {
					note(n)
					note(e.Code)
				}
			}
		}
		of(&ast.Ident{}, p.Examples)
		funcs := p.Funcs
		for _, typ := range p.Types {
			of(ast.NewIdent(typ.Name), typ.Examples)
			funcs = slices.Concat(funcs, typ.Funcs, typ.Methods)
		}
		for _, f := range funcs {
			of(&ast.FuncDecl{Recv: f.Decl.Recv, Name: f.Decl.Name, Type: f.Decl.Type}, f.Examples)
		}
		for _, typ := range p.Types {
			constants := slices.ContainsFunc(typ.Consts, func(c *doc.Value) bool {
				return slices.ContainsFunc(c.Names, func(name string) bool { return shown[name] })
			})
			if !shown[typ.Name] && !constants {
				t.Errorf("%s: type %s has no example with output", p.ImportPath, typ.Name)
			}
		}
	}
}

// publicPackages returns the packages that programs may import: those of this
// module, and of the modules below cache.
func publicPackages(t *testing.T) []*doc.Package {
	t.Helper()
	var packages []*doc.Package
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		_, noModule := os.Stat(filepath.Join(dir, "go.mod"))
		other := noModule == nil && dir != "." && filepath.Dir(dir) != "cache"
		if hidden := dir != "." && strings.HasPrefix(d.Name(), "."); hidden || other || d.Name() == "internal" || d.Name() == "testdata" {
			return fs.SkipDir
		}
		if p := parsePackage(t, dir); p != nil {
			packages = append(packages, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 7 {
		t.Fatalf("%d packages", len(packages))
	}
	return packages
}

// parsePackage returns the package in a folder, with its examples, as it is on
// Linux; nil for a program or a folder without Go.
func parsePackage(t *testing.T, dir string) *doc.Package {
	t.Helper()
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", false
	in, err := linux.ImportDir(dir, 0)
	if _, none := err.(*build.NoGoError); none || in.Name == "main" || len(in.GoFiles) == 0 {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Concat(in.GoFiles, in.TestGoFiles, in.XTestGoFiles) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, path.Join(module, filepath.ToSlash(dir)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// symbol is something exported: a line that declares it, and its docstring.
type symbol struct{ text, doc string }

// symbolsOf returns the exported symbols of a package, sorted.
func symbolsOf(p *doc.Package) []symbol {
	var all []symbol
	values := func(values []*doc.Value) {
		for _, v := range values {
			all = append(all, valuesOf(v)...)
		}
	}
	funcs := func(funcs []*doc.Func) {
		for _, f := range funcs {
			text := "func " + f.Name
			if f.Recv != "" {
				text = "func (" + f.Recv + ") " + f.Name
			}
			all = append(all, symbol{text + strings.TrimPrefix(oneLine(f.Decl.Type), "func"), f.Doc})
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs)
	for _, t := range p.Types {
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs)
		funcs(t.Methods)
		all = append(all, typeOf(t)...)
	}
	slices.SortFunc(all, func(a, b symbol) int { return strings.Compare(a.text, b.text) })
	return all
}

// valuesOf returns constants or variables that are declared together. A
// docstring of the group is one of each.
func valuesOf(v *doc.Value) []symbol {
	var all []symbol
	var typ ast.Expr
	var values []ast.Expr
	for i, spec := range v.Decl.Specs {
		s := spec.(*ast.ValueSpec)
		if s.Type != nil || s.Values != nil {
			typ, values = s.Type, s.Values // of those that follow, too
		}
		for j, name := range s.Names {
			if !name.IsExported() {
				continue
			}
			text := v.Decl.Tok.String() + " " + name.Name
			if typ != nil {
				text += " " + oneLine(typ)
			}
			if v.Decl.Tok == token.CONST && j < len(values) {
				text += " = " + strings.ReplaceAll(oneLine(values[j]), "iota", fmt.Sprint(i))
			}
			all = append(all, symbol{text, v.Doc + s.Doc.Text() + s.Comment.Text()})
		}
	}
	return all
}

// typeOf returns a type, and its fields or methods. A docstring that names the
// field below it is that one's, too.
func typeOf(t *doc.Type) []symbol {
	spec := t.Decl.Specs[0].(*ast.TypeSpec)
	var members *ast.FieldList
	text := "type " + t.Name
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		members, text = typ.Fields, text+" struct"
	case *ast.InterfaceType:
		members, text = typ.Methods, text+" interface"
	default:
		if spec.Assign.IsValid() {
			text += " ="
		}
		text += " " + oneLine(spec.Type)
	}
	all := []symbol{{text, t.Doc}}
	if members == nil {
		return all
	}
	above := ""
	for _, m := range members.List {
		comment := m.Doc.Text() + m.Comment.Text()
		if len(m.Names) == 0 {
			all = append(all, symbol{text + ", " + oneLine(m.Type), "of the embedded type"})
		}
		for _, name := range m.Names {
			own := comment
			if own == "" && regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(above) {
				own = above
			}
			all = append(all, symbol{text + ", " + name.Name + " " + oneLine(m.Type), own})
		}
		above = comment
	}
	return all
}

// oneLine returns a node as Go on one line.
func oneLine(n ast.Node) string {
	var b bytes.Buffer
	printer.Fprint(&b, token.NewFileSet(), n)
	return strings.Join(strings.Fields(b.String()), " ")
}
