"""`python -m tissue donors`: the table of donors, from a server that has the form of the atlas."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.atlas_xml import Images, gene_xml, write_genes
from tests.conftest import update_params
from tests.pipeline import ROOT
from tests.servers import Site, serving
from tissue.commands.donors import main, run
from tissue.config.fetch import Fetch
from tissue.config.loading import load_params
from tissue.images.groups import add_known_groups
from tissue.phantom.plan import Core, plan_cores

PLAN = plan_cores(train_per_class=8, test_per_class=4, size=64, seed=3)


def name_of(core: Core) -> str:
    return core.id.rsplit("/", 1)[1]


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with one gene per slide of the phantom, and one more that has other images."""
    images: dict[str, Images] = defaultdict(lambda: defaultdict(list))
    for core in PLAN:
        tissue = core.class_name.replace("_", " ").capitalize()
        images[core.slide][tissue].append((core.donor, f"http://127.0.0.1/1/{name_of(core)}"))
    images["none"]["Testis"].append(("7", "http://127.0.0.1/1/1_A_1_1.jpg"))
    with serving(Site({})) as served:
        for number, of_gene in enumerate(images.values()):
            gene = f"ENSG{number:011}"
            served.files[f"/{gene}.xml"] = gene_xml(gene, of_gene).encode()
        yield served


@pytest.fixture
def settings(site: Site, tmp_path: Path) -> Fetch:
    fetch = load_params(ROOT / "params.yaml").fetch
    genes = write_genes(tmp_path / "genes.txt", [path[1:-4] for path in site.files])
    hpa = {"genes": genes, "url": site.url, "requests_per_second": 1000.0}
    changes = {"hpa": fetch.hpa.model_copy(update=hpa), "cache": str(tmp_path / "cache")}
    return fetch.model_copy(update=changes)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with the cores of the phantom, under their names; only the names are read."""
    for core in PLAN:
        path = tmp_path / "images" / core.id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"jpeg")
    return tmp_path / "images"


def test_every_image_gets_its_donor(site: Site, settings: Fetch, images: Path, tmp_path: Path):
    table, missing = run(settings, [images])
    assert missing == []
    assert dict(zip(table["path"], table["group"], strict=True)) == {
        core.id: core.donor for core in PLAN
    }
    # The last gene was not asked for, since all images had been found.
    assert site.paths() == list(site.files)[:-1]
    run(settings, [images])
    assert len(site.requests) == len(site.files) - 1, "the XML is kept"
    # It is the table that `split` reads.
    table.to_csv(tmp_path / "donors.csv", index=False)
    split = load_params(ROOT / "params.yaml").split
    split = split.model_copy(update={"metadata": str(tmp_path / "donors.csv")})
    index = pd.DataFrame({"id": [core.id for core in PLAN], "donor": ""})
    assert add_known_groups(index, split)["donor"].tolist() == [core.donor for core in PLAN]


def test_images_that_are_not_found_are_named(site: Site, settings: Fetch, images: Path):
    for name in ("train/colon/9_B_9_9.jpg", "train/colon/mine.jpg"):
        (images / name).write_bytes(b"jpeg")
    (images / PLAN[0].id).rename(images / PLAN[0].id.replace(".jpg", " (1).jpg"))
    first = next(path for path in site.files if name_of(PLAN[1]) in site.files[path].decode())
    other = gene_xml(first[1:-4], {"Colon": [("0", f"http://127.0.0.1/2/{name_of(PLAN[1])}")]})
    site.files[list(site.files)[-1]] = other.encode()
    table, missing = run(settings, [images])
    assert [line.partition(": ")[::2] for line in missing] == [
        (PLAN[1].id, f"of several donors in the atlas, 0, {PLAN[1].donor}"),
        ("train/colon/9_B_9_9.jpg", f"in no gene of {settings.hpa.genes}"),
        ("train/colon/mine.jpg", "no name of the atlas"),
    ]
    groups = table.set_index("path")["group"]
    assert groups[groups == ""].index.tolist() == [line.partition(": ")[0] for line in missing]
    assert groups[PLAN[0].id.replace(".jpg", " (1).jpg")] == PLAN[0].donor


def test_the_command(
    site: Site, settings: Fetch, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    update_params(tmp_path / "params.yaml", {"fetch": {"hpa": {"url": site.url}}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tissue.sources.atlas.open_session", _hasty)
    main(["images", "--genes", "genes.txt"])
    donors = len({core.donor for core in PLAN})
    expected = f"donors: {len(PLAN)} of {len(PLAN)} images, of {donors} donors; set split.metadata"
    assert expected in capsys.readouterr().out
    (tmp_path / "one.txt").write_text("ENSG00000000000\n")
    with pytest.raises(SystemExit) as stop:
        main(["images", "--genes", "one.txt", "--output", "part.csv"])
    part = pd.read_csv("part.csv", dtype=str, keep_default_na=False)
    lacking = part.loc[part["group"] == "", "path"]
    message = str(stop.value)
    assert (
        f"donors: expected a donor for every image. Received: none for {len(lacking)}." in message
    )
    assert f"\n  {lacking.iloc[0]}: in no gene of one.txt\n" in message
    assert message.endswith(f"and {len(lacking) - 20} more")


def _hasty(**settings: object) -> object:
    from tissue.sources.web import open_session

    return open_session()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty"], "empty: expected images"),
        (["other"], r"names that the atlas gives.* Received: 1 others, e\.g\. colon/a\.jpg"),
        (["images", "--output", "x.txt"], "ends in .csv"),
        (["images", "--genes", "none.txt"], "expected a text file with one gene per line"),
        (["nowhere"], "nowhere, which does not exist"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = images.parent
    (folder / "empty").mkdir()
    (folder / "other/colon").mkdir(parents=True)
    (folder / "other/colon/a.jpg").write_bytes(b"jpeg")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=message):
        main(arguments)
    assert not (folder / "donors.csv").exists()
