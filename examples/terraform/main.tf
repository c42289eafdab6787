# A bucket, the least that the exporter and its readers may do, and the lake's tables in Athena.
#
#     clari-lake sql s3://example-lake/clari --engine athena > tables.sql
#     terraform init && terraform apply -var bucket=example-lake -var prefix=clari
#
# Athena keeps the statements as saved queries in the workgroup; run each once, and again when a
# table has got new columns. Without a tables.sql there are none.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  type        = string
  description = "The bucket's name"
}

variable "prefix" {
  type        = string
  description = "Where in the bucket the lake is"
  default     = "clari"
}

variable "old_versions_days" {
  type        = number
  description = "For how many days replaced partitions can be brought back"
  default     = 7
}

locals {
  tables_sql = fileexists("${path.module}/tables.sql") ? file("${path.module}/tables.sql") : ""
  statements = [for it in split(";\n", "${local.tables_sql}\n") : trimspace(it) if trimspace(it) != ""]
}

resource "aws_s3_bucket" "lake" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket     = aws_s3_bucket.lake.id
  depends_on = [aws_s3_bucket_versioning.lake]

  rule {
    id     = "clari-lake"
    status = "Enabled"
    filter {
      prefix = "${var.prefix}/"
    }
    noncurrent_version_expiration {
      noncurrent_days = var.old_versions_days
    }
    expiration {
      expired_object_delete_marker = true
    }
  }
}

# What docs/object-stores.md asks for, and nothing else.
resource "aws_iam_policy" "exporter" {
  name = "clari-lake-exporter"
  policy = templatefile("${path.module}/writer-policy.json", {
    bucket = var.bucket
    prefix = var.prefix
  })
}

# As docs/security.md has it: the tables, and nothing of what keeps them.
resource "aws_iam_policy" "reader" {
  name = "clari-lake-reader"
  policy = templatefile("${path.module}/reader-policy.json", {
    bucket = var.bucket
    prefix = var.prefix
  })
}

resource "aws_glue_catalog_database" "clari" {
  name = "clari"
}

resource "aws_athena_workgroup" "clari" {
  name = "clari"
  configuration {
    result_configuration {
      output_location = "s3://${aws_s3_bucket.lake.bucket}/athena-results/"
    }
  }
}

resource "aws_athena_named_query" "tables" {
  count     = length(local.statements)
  name      = format("clari-%02d", count.index + 1)
  workgroup = aws_athena_workgroup.clari.id
  database  = aws_glue_catalog_database.clari.name
  query     = local.statements[count.index]
}

output "exporter_policy" {
  value = aws_iam_policy.exporter.arn
}

output "reader_policy" {
  value = aws_iam_policy.reader.arn
}
