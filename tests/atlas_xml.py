"""XML files of genes in the form of the Human Protein Atlas, and lists of genes."""

from collections.abc import Sequence
from pathlib import Path

Images = dict[str, list[tuple[str, str]]]  # donor and URL of each image by tissue
# Of each gene, below its entry: an image that stands for the whole entry, and one of a cancer.
SELECTED = """<tissueExpression assayType="tissue"><image imageType="selected"><imageUrl>
x/0_A_1_1.jpg</imageUrl></image><data><tissue>Liver</tissue></data></tissueExpression>"""
CANCER = """<tissueExpression assayType="cancer"><data><tissue>Colon</tissue><patient><patientId>9
</patientId><sample><assayImage><image><imageUrl>x/9_A_1_1.jpg</imageUrl></image></assayImage>
</sample></patient></data></tissueExpression>"""
PATIENT = """<patient><sex>Female</sex><age>40</age><patientId>{}</patientId><sample>
<snomedParameters><snomed snomedCode="T-1" tissueDescription="x"/></snomedParameters><assayImage>
<image><imageUrl>{}</imageUrl></image></assayImage></sample></patient>"""


def gene_xml(gene: str, images: Images, root: str = "proteinAtlas") -> str:
    """XML as of the atlas, given donor and URL of each image by tissue."""
    data = "".join(
        f'<data><tissue organ="Somewhere">{tissue}</tissue><level type="staining">high</level>'
        f"{''.join(PATIENT.format(*patient) for patient in patients)}</data>"
        for tissue, patients in images.items()
    )
    entry = f"""<entry version="23.0"><name>{gene}</name>{SELECTED}<antibody id="HPA{gene[-3:]}">
    {CANCER}<tissueExpression assayType="tissue">{data}</tissueExpression></antibody></entry>"""
    return entry if root == "entry" else f"<{root}>{entry}</{root}>"


def write_genes(path: Path, genes: Sequence[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# two proteins\n\n" + "".join(f"{gene}  # its name\n" for gene in genes))
    return str(path)
