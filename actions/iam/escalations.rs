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
    /// What is enough, beside all of a kind.
    pub enough: Enough,
}

/// On what an action leads to more though it is not allowed on all of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// On nothing.
    Nothing,
    /// On whatever it is called: the action makes it.
    Anything,
    /// On whoever does it, on a group of that one, or on a policy that it has.
    Own,
    /// On a user or group that is an administrator, or can become one.
    Powerful,
    /// On such a role that whoever does it may assume.
    Assumable,
    /// On such a role that a service may assume.
    Passable,
}

const fn need(action: &'static str, on: &'static str, enough: Enough) -> Need {
    Need { action, on: Some(on), enough }
}

const fn any(action: &'static str) -> Need {
    Need { action, on: None, enough: Enough::Nothing }
}

const fn makes(action: &'static str) -> Need {
    Need { action, on: None, enough: Enough::Anything }
}

const fn of(name: &'static str, needs: &'static [Need], source: &'static str) -> Escalation {
    Escalation { name, needs, source }
}

const PASS_ROLE: Need = need("iam:PassRole", ROLES, Enough::Passable);

/// Ways out of the permissions boundary of a user.
pub const UNBOUND_USER: [Need; 2] =
    [need("iam:DeleteUserPermissionsBoundary", USERS, Enough::Own), need("iam:PutUserPermissionsBoundary", USERS, Enough::Own)];

/// Ways out of that of a role.
pub const UNBOUND_ROLE: [Need; 2] =
    [need("iam:DeleteRolePermissionsBoundary", ROLES, Enough::Own), need("iam:PutRolePermissionsBoundary", ROLES, Enough::Own)];

/// All that are known here.
pub const ESCALATIONS: &[Escalation] = &[
    // Policies and principals changed.
    of("CreatePolicyVersion", &[need("iam:CreatePolicyVersion", POLICIES, Enough::Own)], RHINO),
    of("SetDefaultPolicyVersion", &[need("iam:SetDefaultPolicyVersion", POLICIES, Enough::Own)], RHINO),
    of("CreateAccessKey", &[need("iam:CreateAccessKey", USERS, Enough::Powerful)], RHINO),
    of("CreateLoginProfile", &[need("iam:CreateLoginProfile", USERS, Enough::Powerful)], RHINO),
    of("UpdateLoginProfile", &[need("iam:UpdateLoginProfile", USERS, Enough::Powerful)], RHINO),
    of("AttachUserPolicy", &[need("iam:AttachUserPolicy", USERS, Enough::Own)], RHINO),
    of("AttachGroupPolicy", &[need("iam:AttachGroupPolicy", GROUPS, Enough::Own)], RHINO),
    of("AttachRolePolicy", &[need("iam:AttachRolePolicy", ROLES, Enough::Own)], RHINO),
    of("PutUserPolicy", &[need("iam:PutUserPolicy", USERS, Enough::Own)], RHINO),
    of("PutGroupPolicy", &[need("iam:PutGroupPolicy", GROUPS, Enough::Own)], RHINO),
    of("PutRolePolicy", &[need("iam:PutRolePolicy", ROLES, Enough::Own)], RHINO),
    of("AddUserToGroup", &[need("iam:AddUserToGroup", GROUPS, Enough::Powerful)], RHINO),
    of("UpdateAssumeRolePolicy", &[need("iam:UpdateAssumeRolePolicy", ROLES, Enough::Powerful)], RHINO),
    of("AssumeRole", &[need("sts:AssumeRole", ROLES, Enough::Assumable)], BISHOP_FOX),
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
