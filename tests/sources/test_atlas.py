"""The Human Protein Atlas as a source, from a server on this machine that has its form."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from tests.atlas_xml import Images, gene_xml, write_genes
from tests.conftest import update_params
from tests.pipeline import ROOT
from tests.servers import Site
from tests.source_examples import PARAMS, contents, manifest_of, picture
from tissue.common.errors import InputError
from tissue.common.names import MANIFEST
from tissue.config.fetch import Hpa
from tissue.sources.atlas import read_gene_ids
from tissue.sources.atlas_xml import AtlasImage, check_image, read_gene

GENES = ["ENSG00000000001", "ENSG00000000002"]
TISSUES = ["Colon", "Endometrium 2", "lymph node"]


def fill(site: Site, *, donors: int = 4) -> None:
    """Put two genes on a server, with one image per tissue and donor each."""
    for number, gene in enumerate(GENES):
        images: Images = {}
        for row, tissue in enumerate(TISSUES):
            for donor in range(donors):
                path = f"/images/{number}/{70 + number}_A_{donor + 1}_{row + 1}.jpg"
                site.files[path] = picture(100 * number + 10 * row + donor, "JPEG")
                images.setdefault(tissue, []).append((f"{row}{donor}", site.url + path))
        site.files[f"/{gene}.xml"] = gene_xml(gene, images).encode()


@pytest.fixture
def site(site: Site) -> Site:
    """A server that looks like the atlas."""
    fill(site)
    return site


def fetched(
    site: Site, root: Path, *, genes: Sequence[str] = GENES, train: int = 4, test: int = 2
) -> pd.DataFrame:
    """The manifest of images from a server."""
    changes = {
        "genes": write_genes(root / "genes.txt", genes), "url": site.url,
        "train_per_class": train, "test_per_class": test, "requests_per_second": 1000.0,
    }  # fmt: skip
    return manifest_of("hpa", root, hpa=PARAMS.fetch.hpa.model_copy(update=changes))


class TestGenes:
    def test_comments_and_empty_lines_are_left_out(self, tmp_path: Path) -> None:
        assert read_gene_ids(Path(write_genes(tmp_path / "genes.txt", GENES))) == GENES

    def test_genes_of_the_repository(self) -> None:
        genes = read_gene_ids(ROOT / PARAMS.fetch.hpa.genes)
        assert len(genes) == len(set(genes)) == 52

    @pytest.mark.parametrize("name", ["nosuch.txt", ".", "binary.txt"])
    def test_no_text_file(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match=r"fetch\.hpa\.genes: expected a text file"):
            read_gene_ids(tmp_path / name)

    @pytest.mark.parametrize(
        ("text", "received"),
        [
            ("", "none"),
            ("# EPCAM\n\n", "none"),
            ("ENSG00000119888\nEPCAM\n", r"EPCAM\."),
            ("ENSG00000119888 ENSG00000163347", "ENSG00000119888 ENSG00000163347"),
            ("ENSG0000011988", r"ENSG0000011988\."),
            ("ensg00000119888.2", r"ensg00000119888\.2"),
        ],
    )
    def test_wrong_line_and_empty_file(self, text: str, received: str, tmp_path: Path) -> None:
        (tmp_path / "genes.txt").write_text(text)
        message = rf"genes\.txt: expected ids such as ENSG.*Received: {received}"
        with pytest.raises(InputError, match=message):
            read_gene_ids(tmp_path / "genes.txt")


class TestXml:
    def read(self, content: str, tmp_path: Path) -> list[tuple[str, ...]]:
        (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="UTF-8"?>{content}')
        rows = [image.row("train", "") for image in read_gene(tmp_path / "a.xml")]
        columns = ("class", "url", "donor", "antibody", "release", "slide")
        return [tuple(str(row[column]) for column in columns) for row in rows]

    @pytest.mark.parametrize("root", ["proteinAtlas", "entry"])
    @pytest.mark.parametrize("namespace", ["", ' xmlns="http://example.org/atlas"'])
    @pytest.mark.parametrize("tissue", ["Endometrium 2", "endometrium 2"])
    def test_forms(self, root: str, namespace: str, tissue: str, tmp_path: Path) -> None:
        url = "http://images.example.org/1/4821_A_3_5.jpg"
        content = gene_xml(GENES[0], {tissue: [("7", url)]}, root)
        content = content.replace(f"<{root}", f"<{root}{namespace}", 1)
        expected = ("endometrium_2", url, "7", "HPA001", "23.0", "4821")
        assert self.read(content, tmp_path) == [expected]

    def test_left_out(self, tmp_path: Path) -> None:
        images = {"Colon": [("", "a/2_A_1_1.jpg"), ("1", "")]}
        assert self.read(gene_xml(GENES[0], images), tmp_path) == []
        tissue = gene_xml(GENES[0], {"Colon": [("1", "a/1_A_1_1.jpg")]})
        pathology = tissue.replace('assayType="tissue"', 'assayType="pathology"')
        assert self.read(pathology, tmp_path) == []

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "<html>busy",
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><entry>&c;</entry>',
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><entry>&b;</entry>',
        ],
    )
    def test_hostile(self, content: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected the XML of a gene"):
            self.read(content, tmp_path)

    @pytest.mark.parametrize(
        ("url", "donor"),
        [
            ("file:///etc/passwd", "1"), ("ftp://a.example.org/a.jpg", "1"), ("/a.jpg", "1"),
            ("https://me:pw@a.example.org/a.jpg", "1"), ("https://a.example.org/a.jpg?sig=x", "1"),
            ("https://example.com/a.jpg", "1"), ("http://169.254.169.254/a.jpg", "1"),
            ("https://a.example.org/..", "1"), ("https://a.example.org/", "1"),
            ("https://a.example.org/a\\..\\b.jpg", "1"), ("http://[::1/a.jpg", "1"),
            ("https://a.example.org/\u202ea.jpg", "1"), ("https://a.example.org/=a|b.jpg", "1"),
            (f"https://a.example.org/{'a' * 2000}.jpg", "1"), ("https://a.example.org/a.jpg", "=1"),
            ("https://a.example.org/a.jpg", "1\x85"),
        ],
    )  # fmt: skip
    def test_names_of_images(self, url: str, donor: str) -> None:
        """As of an archive: a server that is not the atlas may send any."""
        fine = AtlasImage("liver", "https://images.example.org/1/2_A_1_1.jpg", "1", "HPA1", "")
        check_image(fine, "https://www.example.org")
        with pytest.raises(InputError) as caught:
            check_image(replace(fine, url=url, donor=donor), "https://www.example.org")
        assert len(str(caught.value)) < 500


class TestChoice:
    def test_manifest(self, site: Site, tmp_path: Path) -> None:
        manifest = fetched(site, tmp_path)
        assert set(manifest["class"]) == {"colon", "endometrium_2", "lymph_node"}
        provenance = ["sha256", "bytes", "url", "licence", "release", "credit"]
        assert list(manifest.columns) == MANIFEST + provenance
        row = manifest.iloc[0]
        assert row["url"].endswith(Path(row["id"]).name)
        assert row["licence"] == f"{site.url}/about/licence"
        assert (row["release"], row["source"]) == ("23.0", "hpa")
        assert row["credit"] == f"Image credit: Human Protein Atlas, {row['url']}"
        assert row["slide"] == Path(row["id"]).name.partition("_")[0]
        assert all(manifest["donor"])
        assert all(manifest["antibody"])

    def test_no_donor_is_in_both_splits(self, site: Site, tmp_path: Path) -> None:
        fill(site, donors=9)
        manifest = fetched(site, tmp_path, train=50, test=25)
        assert (manifest.groupby("donor")["split"].nunique() == 1).all()
        counts = manifest.groupby(["class", "split"]).size().unstack()
        assert (counts["test"] == 6).all()
        assert (counts["train"] == 12).all()

    def test_no_more_than_wanted(self, site: Site, tmp_path: Path) -> None:
        fill(site, donors=9)
        manifest = fetched(site, tmp_path, train=3, test=2)
        assert set(manifest.groupby(["class", "split"]).size().unstack()["train"]) == {3}
        assert len(site.requests) == len(manifest) + len(GENES)
        # Three of a class come from three donors.
        assert (manifest.groupby(["class", "split"])["donor"].nunique() >= 2).all()

    def test_order_of_genes_does_not_matter(self, site: Site, tmp_path: Path) -> None:
        one = fetched(site, tmp_path / "1")
        two = fetched(site, tmp_path / "2", genes=GENES[::-1])
        pd.testing.assert_frame_equal(one, two)

    def test_licence_and_shortage_are_printed(
        self, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fetched(site, tmp_path, train=90)
        printed = capsys.readouterr().out
        assert f"Read {site.url}/about/licence before you use" in printed
        assert "of 90 images of colon for train; add genes" in printed
        assert "hpa: 0 of 90 images of spleen for train; add genes" in printed


class TestFaults:
    @pytest.mark.parametrize("content", [None, b"\0" * 500], ids=["missing", "damaged"])
    def test_image_is_replaced_and_requested_once(
        self,
        content: bytes | None,
        site: Site,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        first = fetched(site, tmp_path / "1", train=2, test=1)
        url = first.loc[first["split"] == "train", "url"].iloc[0]
        path = url.removeprefix(site.url)
        site.files |= {path: content} if content else {}
        if not content:
            del site.files[path]
        for _ in range(2):
            second = fetched(site, tmp_path / "2", train=2, test=1)
            assert len(second) == len(first)
            assert url not in set(second["url"])
        assert (f"hpa: {url} is left out: no image" in capsys.readouterr().out) == bool(content)
        assert site.paths().count(path) == 2

    def test_unknown_gene_is_requested_again(self, site: Site, tmp_path: Path) -> None:
        for _ in range(2):
            with pytest.raises(InputError, match=r"ENSG00000000009, which .* does not know"):
                fetched(site, tmp_path, genes=["ENSG00000000009"])
        assert site.paths().count("/ENSG00000000009.xml") == 2

    @pytest.mark.parametrize("content", [b"<html>", b""])
    def test_broken_xml_is_requested_again(
        self, content: bytes, site: Site, tmp_path: Path
    ) -> None:
        path = f"/{GENES[0]}.xml"
        original, site.files[path] = site.files[path], content
        with pytest.raises(InputError, match=r"expected the XML|does not know"):
            fetched(site, tmp_path)
        site.files[path] = original
        assert len(fetched(site, tmp_path)) > 0

    def test_page_in_place_of_an_image_is_reported_and_requested_again(
        self, site: Site, tmp_path: Path
    ) -> None:
        url = fetched(site, tmp_path / "1")["url"][0]
        path = url.removeprefix(site.url)
        original, site.files[path] = site.files[path], b"<!DOCTYPE html><p>Closed for repairs"
        with pytest.raises(InputError, match=rf"{url}: expected an image.*DOCTYPE html"):
            fetched(site, tmp_path / "2")
        assert not (tmp_path / "2/data/raw").exists()
        site.files[path] = original
        assert url in set(fetched(site, tmp_path / "2")["url"])

    def test_faults_of_the_server(self, site: Site, tmp_path: Path) -> None:
        expected = fetched(site, tmp_path / "1")
        faults = [429, (429, "0"), 500, "cut"]
        draw = random.Random(1)
        site.faults = {path: draw.sample(faults, draw.randrange(4)) for path in sorted(site.files)}
        pd.testing.assert_frame_equal(fetched(site, tmp_path / "2"), expected)
        assert not any(site.faults[path] for path in set(site.paths()))


@pytest.mark.parametrize("rate", [2.5, 0])
def test_rate_above_two_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="requests_per_second"):
        Hpa.model_validate(PARAMS.fetch.hpa.model_dump() | {"requests_per_second": rate})


def test_killed_three_times(site: Site, tmp_path: Path) -> None:
    """After kills, no complete file is requested again, and the rate of two per second holds."""
    fetched(site, tmp_path / "undisturbed", train=2, test=1)
    site.requests.clear()
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    genes = write_genes(tmp_path / "genes.txt", GENES)
    hpa = {"genes": genes, "train_per_class": 2, "test_per_class": 1, "url": site.url}
    update_params(tmp_path / "params.yaml", {"seed": 1, "fetch": {"source": "hpa", "hpa": hpa}})
    command = [sys.executable, "-m", "stages.fetch"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    names = {sha256((site.url + path).encode()).hexdigest(): path for path in site.files}
    draw = random.Random(7)
    complete: list[tuple[int, set[str]]] = []  # number of requests and complete files at each kill
    for kill in range(3):
        process = subprocess.Popen(command, cwd=tmp_path, env=environment)
        before = len(site.requests)
        while len(site.requests) < before + 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.6))
        assert process.poll() is None, f"kill {kill} came too late"
        process.kill()
        process.wait()
        cached = {path.name for path in (tmp_path / ".dvc/tmp/fetch").glob("*/files/*")}
        complete.append((len(site.requests), {names[name] for name in cached & set(names)}))
        assert not (tmp_path / "data/raw").exists()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert contents(tmp_path / "data") == contents(tmp_path / "undisturbed/data")
    assert len(complete[-1][1]) >= 5
    for count, paths in complete:
        assert not paths & set(site.paths()[count:])
    times = [request.time for request in site.requests]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.5
