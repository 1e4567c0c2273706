//! Actions with which a principal can give itself more than it has, alone or together: published research as data.

/// Spencer Gietzen, "AWS IAM Privilege Escalation – Methods and Mitigation".
const RHINO: &str = "Rhino Security Labs: https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation/";

/// The same, part 2: CodeStar, SageMaker, and layers of Lambda functions.
const RHINO_2: &str = "Rhino Security Labs: https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation-part-2/";

/// Gerben Kleijn, "Privilege Escalation in AWS".
const BISHOP_FOX: &str = "Bishop Fox: https://bishopfox.com/blog/privilege-escalation-in-aws";

/// The check `iam_policy_allows_privilege_escalation`.
const PROWLER: &str =
    "Prowler: https://github.com/prowler-cloud/prowler/blob/master/prowler/providers/aws/services/iam/lib/privilege_escalation.py";

const USERS: &str = "arn:*:iam:*:*:user/*";
const GROUPS: &str = "arn:*:iam:*:*:group/*";
const ROLES: &str = "arn:*:iam:*:*:role/*";
const POLICIES: &str = "arn:*:iam:*:*:policy/*";

/// The kinds of principals: whoever may do everything with all of one kind makes itself an administrator.
pub const PRINCIPALS: [&str; 3] = [USERS, GROUPS, ROLES];

/// Actions that lead to more, all of them together.
pub struct Escalation {
    /// What it is known by.
    pub name: &'static str,
    /// What has to be allowed.
    pub needs: &'static [Need],
    /// Who published it.
    pub source: &'static str,
}

/// An action, and what it has to be allowed on.
pub struct Need {
    pub action: &'static str,
    /// The form of the ARNs that it applies to; none for whatever its service has.
    pub on: Option<&'static str>,
    /// Whether it makes what it is used on: then one name is as good as all.
    pub makes: bool,
}

const fn need(action: &'static str, on: &'static str) -> Need {
    Need { action, on: Some(on), makes: false }
}

const fn any(action: &'static str) -> Need {
    Need { action, on: None, makes: false }
}

const fn makes(action: &'static str) -> Need {
    Need { action, on: None, makes: true }
}

const fn of(name: &'static str, needs: &'static [Need], source: &'static str) -> Escalation {
    Escalation { name, needs, source }
}

const PASS_ROLE: Need = need("iam:PassRole", ROLES);

/// All that are known here.
pub const ESCALATIONS: &[Escalation] = &[
    // Policies and principals changed.
    of("CreatePolicyVersion", &[need("iam:CreatePolicyVersion", POLICIES)], RHINO),
    of("SetDefaultPolicyVersion", &[need("iam:SetDefaultPolicyVersion", POLICIES)], RHINO),
    of("CreateAccessKey", &[need("iam:CreateAccessKey", USERS)], RHINO),
    of("CreateLoginProfile", &[need("iam:CreateLoginProfile", USERS)], RHINO),
    of("UpdateLoginProfile", &[need("iam:UpdateLoginProfile", USERS)], RHINO),
    of("AttachUserPolicy", &[need("iam:AttachUserPolicy", USERS)], RHINO),
    of("AttachGroupPolicy", &[need("iam:AttachGroupPolicy", GROUPS)], RHINO),
    of("AttachRolePolicy", &[need("iam:AttachRolePolicy", ROLES)], RHINO),
    of("PutUserPolicy", &[need("iam:PutUserPolicy", USERS)], RHINO),
    of("PutGroupPolicy", &[need("iam:PutGroupPolicy", GROUPS)], RHINO),
    of("PutRolePolicy", &[need("iam:PutRolePolicy", ROLES)], RHINO),
    of("AddUserToGroup", &[need("iam:AddUserToGroup", GROUPS)], RHINO),
    of("UpdateAssumeRolePolicy", &[need("iam:UpdateAssumeRolePolicy", ROLES)], RHINO),
    of("AssumeRole", &[need("sts:AssumeRole", ROLES)], BISHOP_FOX),
    // A role handed to something that is then controlled.
    of("PassRole+RunInstances", &[PASS_ROLE, makes("ec2:RunInstances")], RHINO),
    // Whoever invokes it: a permission, a trigger or a schedule may come from elsewhere.
    of("PassRole+CreateFunction", &[PASS_ROLE, makes("lambda:CreateFunction")], RHINO),
    of("PassRole+GlueDevEndpoint", &[PASS_ROLE, makes("glue:CreateDevEndpoint")], RHINO),
    of("PassRole+CloudFormation", &[PASS_ROLE, makes("cloudformation:CreateStack")], RHINO),
    of(
        "PassRole+DataPipeline",
        &[
            PASS_ROLE,
            makes("datapipeline:CreatePipeline"),
            makes("datapipeline:PutPipelineDefinition"),
            makes("datapipeline:ActivatePipeline"),
        ],
        RHINO,
    ),
    of("PassRole+CodeStar", &[PASS_ROLE, makes("codestar:CreateProject")], RHINO_2),
    of(
        "PassRole+SageMakerNotebook",
        &[PASS_ROLE, makes("sagemaker:CreateNotebookInstance"), makes("sagemaker:CreatePresignedNotebookInstanceUrl")],
        RHINO_2,
    ),
    of(
        "PassRole+CreateAutoScalingGroup",
        &[PASS_ROLE, makes("autoscaling:CreateAutoScalingGroup"), makes("autoscaling:CreateLaunchConfiguration")],
        PROWLER,
    ),
    of(
        "PassRole+UpdateAutoScalingGroup",
        &[PASS_ROLE, any("autoscaling:UpdateAutoScalingGroup"), makes("autoscaling:CreateLaunchConfiguration")],
        PROWLER,
    ),
    of("PassRole+RunTask", &[PASS_ROLE, makes("ecs:RunTask")], PROWLER),
    of("PassRole+StartTask", &[PASS_ROLE, any("ecs:StartTask"), any("ecs:RegisterContainerInstance")], PROWLER),
    of(
        "PassRole+AgentCoreCodeInterpreter",
        &[PASS_ROLE, makes("bedrock-agentcore:CreateCodeInterpreter"), makes("bedrock-agentcore:InvokeCodeInterpreter")],
        PROWLER,
    ),
    of("PassRole+RequestSpotInstances", &[PASS_ROLE, makes("ec2:RequestSpotInstances")], PROWLER),
    of("PassRole+GlueJob", &[PASS_ROLE, makes("glue:CreateJob"), makes("glue:StartJobRun")], PROWLER),
    of("PassRole+GlueJobTrigger", &[PASS_ROLE, makes("glue:CreateJob"), makes("glue:CreateTrigger")], PROWLER),
    of("PassRole+UpdateGlueJob", &[PASS_ROLE, any("glue:UpdateJob"), any("glue:StartJobRun")], PROWLER),
    of("PassRole+UpdateGlueJobTrigger", &[PASS_ROLE, any("glue:UpdateJob"), makes("glue:CreateTrigger")], PROWLER),
    of(
        "PassRole+CloudFormationStackSet",
        &[PASS_ROLE, makes("cloudformation:CreateStackSet"), makes("cloudformation:CreateStackInstances")],
        PROWLER,
    ),
    of("PassRole+UpdateCloudFormationStackSet", &[PASS_ROLE, any("cloudformation:UpdateStackSet")], PROWLER),
    of("PassRole+CodeBuild", &[PASS_ROLE, makes("codebuild:CreateProject"), makes("codebuild:StartBuild")], PROWLER),
    of("PassRole+CodeBuildBatch", &[PASS_ROLE, makes("codebuild:CreateProject"), makes("codebuild:StartBuildBatch")], PROWLER),
    of("PassRole+CreateService", &[PASS_ROLE, makes("ecs:RegisterTaskDefinition"), makes("ecs:CreateService")], PROWLER),
    of("PassRole+RegisterTaskDefinition+StartTask", &[PASS_ROLE, makes("ecs:RegisterTaskDefinition"), makes("ecs:StartTask")], PROWLER),
    of("PassRole+SageMakerTrainingJob", &[PASS_ROLE, makes("sagemaker:CreateTrainingJob")], PROWLER),
    of("PassRole+SageMakerProcessingJob", &[PASS_ROLE, makes("sagemaker:CreateProcessingJob")], PROWLER),
    of("PassRole+AppRunner", &[PASS_ROLE, makes("apprunner:CreateService")], PROWLER),
    // What has a role already, taken over.
    of("UpdateFunctionCode", &[any("lambda:UpdateFunctionCode")], RHINO),
    of("UpdateFunctionConfiguration", &[any("lambda:UpdateFunctionConfiguration")], RHINO_2),
    of("UpdateDevEndpoint", &[any("glue:UpdateDevEndpoint")], RHINO),
    of("CreateProjectFromTemplate", &[any("codestar:CreateProjectFromTemplate")], RHINO_2),
    of("CreateProject+AssociateTeamMember", &[makes("codestar:CreateProject"), any("codestar:AssociateTeamMember")], RHINO_2),
    of("UpdateStack", &[any("cloudformation:UpdateStack")], PROWLER),
    of("CreateChangeSet", &[any("cloudformation:CreateChangeSet"), any("cloudformation:ExecuteChangeSet")], PROWLER),
    of("ModifyInstanceAttribute", &[any("ec2:ModifyInstanceAttribute"), any("ec2:StopInstances"), any("ec2:StartInstances")], PROWLER),
    of("ModifyLaunchTemplate", &[any("ec2:CreateLaunchTemplateVersion"), any("ec2:ModifyLaunchTemplate")], PROWLER),
    of("SendSSHPublicKey", &[any("ec2-instance-connect:SendSSHPublicKey")], PROWLER),
    of("ExecuteCommand", &[any("ecs:ExecuteCommand")], PROWLER),
    of("StartSession", &[any("ssm:StartSession")], PROWLER),
    of("SendCommand", &[any("ssm:SendCommand")], PROWLER),
    of("StartBuild", &[any("codebuild:StartBuild")], PROWLER),
    of("StartBuildBatch", &[any("codebuild:StartBuildBatch")], PROWLER),
    of("UpdateAppRunnerService", &[any("apprunner:UpdateService")], PROWLER),
    of(
        "UpdateNotebookInstance",
        &[
            any("sagemaker:CreateNotebookInstanceLifecycleConfig"),
            any("sagemaker:StopNotebookInstance"),
            any("sagemaker:UpdateNotebookInstance"),
            any("sagemaker:StartNotebookInstance"),
        ],
        PROWLER,
    ),
    of(
        "InvokeCodeInterpreter",
        &[any("bedrock-agentcore:StartCodeInterpreterSession"), any("bedrock-agentcore:InvokeCodeInterpreter")],
        PROWLER,
    ),
    of("CreatePresignedNotebookInstanceUrl", &[any("sagemaker:CreatePresignedNotebookInstanceUrl")], RHINO_2),
];
